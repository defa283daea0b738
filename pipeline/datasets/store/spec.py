"""The words of the store: splits, blocks of images, the shape of one, and what a model takes for its input."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Shaped, UInt8

from pipeline.config.parse import parse

Split = Literal["train", "test"]

Shape = tuple[int, int, int]
"""Channel, height and width."""

ImageBlock = UInt8[np.ndarray, "image channel height width"]
Transformed = UInt8[np.ndarray, "image new_channel new_height new_width"]

InputBlock = Shaped[np.ndarray, "image channel height width"]
"""Rows of a store, of the type that its :class:`InputSpec` says."""

Pictures = UInt8[np.ndarray, "image picture_channel picture_height picture_width"]
"""What people see of inputs that are no pictures themselves, kept beside them."""


@dataclass(frozen=True)
class Embedder:
    """The frozen network that made features of images.

    Attributes:
        backbone: its name, as in ``preprocess.features``.
        sha256: of its weights; features of other weights mean something else.
    """

    backbone: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.backbone} with weights {self.sha256[:12]}"


@dataclass(frozen=True)
class InputSpec:
    """What one input of a model is, as it is stored, and how it becomes the floats that networks compute with.

    The store of an experiment states it, and a model keeps that of the store it was trained on: nothing else assumes
    that inputs are images, bytes, or within a range.

    Attributes:
        kind: ``pixels`` of images, or ``features``, numbers that are no picture of anything.
        dtype: numpy's name of the stored numbers' type; bytes become floats by :attr:`scale`, floats stay as they are.
        shape: channel, height and width; (1, 1, n) for n features.
        is_bounded: whether the floats lie in [0, 1]; what a model decodes is then clipped to that range.
        embedder: what made the features, where they were made of images here.
    """

    kind: Literal["pixels", "features"]
    dtype: Literal["uint8", "float32"]
    shape: Shape
    is_bounded: bool
    embedder: Embedder | None = None

    def __post_init__(self) -> None:
        if min(self.shape) < 1:
            raise ValueError(f"shape must be at least 1 along every axis, got {list(self.shape)}")
        if self.kind == "pixels" and self.dtype != "uint8":
            raise ValueError(f"pixels must be of type uint8, got {self.dtype}")
        if self.dtype == "uint8" and not self.is_bounded:
            raise ValueError("bytes must be bounded, as they become floats in [0, 1], got is_bounded false")
        if self.kind == "pixels" and self.embedder is not None:
            raise ValueError(f"pixels must be made by no network, got {self.embedder}")

    def __str__(self) -> str:
        made = f" by {self.embedder}" if self.embedder else ""
        return f"{self.dtype} {self.kind} {'×'.join(map(str, self.shape))}{made}"

    @classmethod
    def pixels(cls, shape: Shape) -> "InputSpec":
        """Return the spec of images of ``shape``, a byte a pixel and channel."""
        return cls("pixels", "uint8", shape, is_bounded=True)

    @classmethod
    def features(cls, n_features: int, embedder: Embedder | None = None) -> "InputSpec":
        """Return the spec of rows of ``n_features`` numbers of any size."""
        return cls("features", "float32", (1, 1, n_features), is_bounded=False, embedder=embedder)

    @property
    def scale(self) -> float:
        """The stored number that becomes 1."""
        return 255.0 if self.dtype == "uint8" else 1.0

    @property
    def n_numbers(self) -> int:
        """Numbers of one input."""
        return int(np.prod(self.shape))

    @property
    def n_bytes(self) -> int:
        """Bytes that one input takes in a store and in memory."""
        return self.n_numbers * np.dtype(self.dtype).itemsize

    def describe(self) -> dict[str, Any]:
        """Return the record that ``model.json`` keeps; only that of features made here names what made them."""
        record = {**asdict(self), "shape": list(self.shape)}
        return record if self.embedder else {key: value for key, value in record.items() if key != "embedder"}

    def as_pictures(self, inputs: Shaped[np.ndarray, "*batch"]) -> UInt8[np.ndarray, "*batch"]:
        """Return what people see of stored inputs: bytes as they are, a row of greys for other features.

        Numbers without bounds are middle grey at 0, lighter above, darker below.
        """
        if self.dtype == "uint8":
            return inputs
        unit = inputs if self.is_bounded else 0.5 + 0.5 * inputs / (1 + np.abs(inputs))
        return np.rint(255 * unit.clip(0, 1)).astype(np.uint8)


def read_spec(record: Any) -> InputSpec:
    """Return the spec that :meth:`InputSpec.describe` described.

    Raises:
        ConfigError: it says something else; the message names the key.
    """
    return parse(InputSpec, {"embedder": None, **record} if isinstance(record, dict) else record, "input")


def describe_shape(shape: Shape) -> str:
    """Return a shape as people write it, e.g. ``64×48 with 3 channels``."""
    channels = "1 channel" if shape[0] == 1 else f"{shape[0]} channels"
    return f"{shape[1]}×{shape[2]} with {channels}"
