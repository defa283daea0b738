"""From images at source size to images at model size, by the policy of ``preprocess``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from pipeline.core.errors import DataError
from pipeline.datasets.decoding.decode import decode_images
from pipeline.datasets.store.spec import ImageBlock, Shape, Transformed, describe_shape

OneImage = UInt8[np.ndarray, "channel height width"]

_LUMA = np.array([19595, 38470, 7471], np.uint32)  # ITU-R 601 in 1/65536, as in Pillow


@runtime_checkable
class Wanted(Protocol):
    """What section ``preprocess`` says of size and colour; decoding processes start sooner without all sections."""

    @property
    def size(self) -> Sequence[int] | None:
        """Height and width."""
        ...

    @property
    def fit(self) -> Literal["stretch", "crop", "pad"]:
        """How another aspect ratio becomes this size."""
        ...

    @property
    def channels(self) -> Literal["source", "grey", "rgb"]:
        """Which channels are kept or made."""
        ...


@dataclass(frozen=True)
class ImageTransform:
    """Channels first, then size: whole-number reductions are means of blocks rounded half up, others bilinear.

    Attributes:
        size: height and width afterwards; None keeps them.
        fit: how another aspect ratio becomes ``size``: ``stretch`` scales each side on its own, ``crop`` keeps the
            largest centred part of the right shape, ``pad`` adds black at both ends.
        channels: ``grey`` (luma of ITU-R 601), ``rgb`` (grey thrice), or ``source`` to keep them.
    """

    size: tuple[int, int] | None
    fit: Literal["stretch", "crop", "pad"]
    channels: Literal["source", "grey", "rgb"]

    @classmethod
    def from_params(cls, params: Wanted) -> "ImageTransform":
        """Return what the section ``preprocess`` asks for."""
        size = None if params.size is None else (params.size[0], params.size[1])
        return cls(size, params.fit, params.channels)

    @classmethod
    def for_model(cls, params: Wanted, image_shape: Shape) -> "ImageTransform":
        """Return the transform to the exact shape that a trained model takes, whatever a new batch holds."""
        n_channels, height, width = image_shape
        named: dict[int, Literal["grey", "rgb"]] = {1: "grey", 3: "rgb"}
        return cls((height, width), params.fit, named.get(n_channels, "source"))

    def output_shape(self, shape: Shape) -> Shape:
        """Return channel, height and width after the transform of an image of ``shape``.

        Raises:
            DataError: ``grey`` or ``rgb`` is asked of images that are neither.
        """
        n_channels = shape[0]
        if self.channels != "source":
            if n_channels not in (1, 3):
                raise DataError(
                    f"channels {self.channels!r} needs images of 1 or 3 channels, got {n_channels}; "
                    "set preprocess.channels to source"
                )
            n_channels = 1 if self.channels == "grey" else 3
        return (n_channels, *(self.size or shape[1:]))

    def apply(self, images: ImageBlock | Sequence[UInt8[np.ndarray, "_ _ _"]]) -> Transformed:
        """Transform images; the result is one array.

        Raises:
            DataError: the results differ in shape, because ``size`` or ``channels`` leaves the source's.
        """
        if isinstance(images, np.ndarray):
            return self._apply_block(images)
        shapes = {self.output_shape(_shape(image)) for image in images}
        if len(shapes) > 1:
            first, second = sorted(shapes)[:2]
            raise DataError(
                "images must agree in channels and size after preprocessing, got "
                f"{describe_shape(first)} and {describe_shape(second)}; set preprocess.size and preprocess.channels"
            )
        blocks = [self._apply_block(image[None]) for image in images]
        return np.concatenate(blocks) if blocks else np.empty((0, *self.output_shape((3, 1, 1))), np.uint8)

    def apply_encoded(self, encoded: Sequence[bytes]) -> Transformed:
        """Decode images, then transform them.

        Raises:
            DataError: an image is damaged, or the results differ in shape.
        """
        return self.apply(decode_images(encoded))

    def _apply_block(self, images: ImageBlock) -> Transformed:
        n_channels, height, width = self.output_shape((images.shape[1], images.shape[2], images.shape[3]))
        if images.shape[1] != n_channels:
            images = _to_grey(images) if n_channels == 1 else np.repeat(images, 3, axis=1)
        if images.shape[2:] == (height, width):
            return images
        if not len(images):
            return np.empty((0, n_channels, height, width), np.uint8)
        if self.fit == "crop":
            images = _centre_crop(images, height, width)
        return (_resize_and_pad if self.fit == "pad" else _resize)(images, height, width)


def _shape(image: np.ndarray) -> Shape:
    n_channels, height, width = image.shape
    return n_channels, height, width


def _to_grey(images: ImageBlock) -> Transformed:
    red, green, blue = (images[:, i : i + 1] * _LUMA[i] for i in range(3))
    return ((red + green + blue + 0x8000) >> 16).astype(np.uint8)


def _centre_crop(images: ImageBlock, height: int, width: int) -> Transformed:
    """Cut the largest centred part whose sides are as ``height`` to ``width``, to the nearest pixel."""
    source_height, source_width = images.shape[2:]
    scale = min(source_height / height, source_width / width)
    kept_height = min(source_height, max(1, round(height * scale)))
    kept_width = min(source_width, max(1, round(width * scale)))
    top, left = (source_height - kept_height) // 2, (source_width - kept_width) // 2
    return images[:, :, top : top + kept_height, left : left + kept_width]


def _resize_and_pad(images: ImageBlock, height: int, width: int) -> Transformed:
    source_height, source_width = images.shape[2:]
    scale = min(height / source_height, width / source_width)
    inner_height = min(height, max(1, round(source_height * scale)))
    inner_width = min(width, max(1, round(source_width * scale)))
    padded = np.zeros((*images.shape[:2], height, width), np.uint8)
    top, left = (height - inner_height) // 2, (width - inner_width) // 2
    padded[:, :, top : top + inner_height, left : left + inner_width] = _resize(images, inner_height, inner_width)
    return padded


def _resize(images: ImageBlock, height: int, width: int) -> Transformed:
    source_height, source_width = images.shape[2:]
    if source_height % height == 0 and source_width % width == 0:
        return _block_means(images, source_height // height, source_width // width)
    return np.stack([_bilinear(image, height, width) for image in images])


def _block_means(images: ImageBlock, down: int, across: int) -> Transformed:
    rows = np.zeros((*images.shape[:2], images.shape[2] // down, images.shape[3]), np.uint32)
    for i in range(down):
        rows += images[:, :, i::down]
    total = np.zeros((*rows.shape[:3], images.shape[3] // across), np.uint32)
    for j in range(across):
        total += rows[..., j::across]
    area = down * across
    return ((total + area // 2) // area).astype(np.uint8)


def _bilinear(image: OneImage, height: int, width: int) -> UInt8[np.ndarray, "channel new_height new_width"]:
    """Resize with Pillow's bilinear filter, which widens when it reduces and so does not alias."""
    size, how = (width, height), Image.Resampling.BILINEAR
    if len(image) == 3:
        whole = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
        return np.asarray(whole.resize(size, how)).transpose(2, 0, 1)
    return np.stack([np.asarray(Image.fromarray(channel).resize(size, how)) for channel in image])
