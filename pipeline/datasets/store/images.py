"""Images on disk: one HDF5 file a split or a batch, written as a stream (see :mod:`pipeline.datasets.store.writer`).

Layout (schema 2). Dataset ``images``: ``image channel height width``, chunked by rows, about 1 MiB a chunk,
uncompressed so that a row can be read on its own. Batches whose images differ in size hold ``encoded`` instead, the
undecoded bytes of all images one after the other, and ``encoded_stop``, where those of each end. Beside them
``image_id`` and ``batch_id`` (fixed-length ASCII) and, where inputs are features of images, ``pictures`` of these for
people. Attributes: ``schema``, ``source``, ``split_rule`` and, of images of one shape, ``input``: their
:class:`~pipeline.datasets.store.spec.InputSpec` as JSON. Those of schema 1 are pixels.
"""

import json
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

import h5py
import numpy as np
from jaxtyping import Int64, Shaped

from pipeline.core.errors import ConfigError, DataError, PipelineError
from pipeline.core.upgrades import require_known
from pipeline.datasets.store.chunked_rows import ChunkedRows
from pipeline.datasets.store.spec import ImageBlock, InputBlock, InputSpec, Pictures, Shape, Transformed, read_spec

SCHEMA = 2


@runtime_checkable
class Transform(Protocol):
    """From images as they are stored to images at another size (:mod:`pipeline.datasets.decoding.transform`)."""

    def output_shape(self, shape: Shape) -> Shape:
        """Return channel, height and width of what becomes of an image of ``shape``."""
        ...

    def apply(self, images: ImageBlock) -> Transformed:
        """Return transformed images."""
        ...

    def apply_encoded(self, encoded: Sequence[bytes]) -> Transformed:
        """Return images from undecoded bytes."""
        ...


class ImageStore:
    """Read access to a store; use it as a context manager.

    Args:
        path: of the HDF5 file.
        transform: applied to every image that is read, which must be pixels; None returns inputs as stored.

    Raises:
        DataError: the file is missing, damaged, or no store.
        ResourceError: a newer release wrote it.
    """

    def __init__(self, path: Path, transform: Transform | None = None) -> None:
        self.path = path
        self._transform = transform
        self._file = _open(path)
        try:
            self.n_images = _checked_rows(self._file, path)
            self.is_encoded = "encoded" in self._file
            self._stored = None if self.is_encoded else _stored_spec(self._file, path)
        except PipelineError:
            self._file.close()
            raise
        self._images: Any = self._file["encoded" if self.is_encoded else "images"]
        self._rows = ChunkedRows(path, self._images)

    def __enter__(self) -> "ImageStore":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; reading is impossible afterwards."""
        self._file.close()

    @property
    def attributes(self) -> dict[str, Any]:
        """``schema``, ``source``, ``split_rule`` and what the layout says besides."""
        return dict(self._file.attrs)

    @property
    def spec(self) -> InputSpec:
        """What :meth:`read` returns."""
        if self._stored is None:
            return InputSpec.pixels(self._needed_transform().output_shape((3, 1, 1)))
        if self._transform is None:
            return self._stored
        return InputSpec.pixels(self._transform.output_shape(self._stored.shape))

    def read(self, start: int, stop: int) -> InputBlock:
        """Return the images of rows ``start`` to ``stop`` (exclusive)."""
        self._require_range(start, stop)
        if self.is_encoded:
            return self._needed_transform().apply_encoded(self.encoded(start, stop))
        return self._finish(self._rows.read(start, stop))

    def take(self, rows: Int64[np.ndarray, " image"]) -> InputBlock:
        """Return the images of strictly increasing rows: a random mini-batch, read row by row from the disk."""
        self._require_increasing(rows)
        if self.is_encoded:
            return self._needed_transform().apply_encoded([self.encoded(row, row + 1)[0] for row in rows.tolist()])
        return self._finish(self._rows.take(rows))

    @property
    def picture_shape(self) -> Shape | None:
        """Of the pictures beside inputs that are none themselves; None where there are none."""
        found = self._file.get("pictures")
        if not isinstance(found, h5py.Dataset):
            return None
        return found.shape[1], found.shape[2], found.shape[3]

    def read_pictures(self, start: int, stop: int) -> Pictures:
        """Return what people see of rows ``start`` to ``stop`` (exclusive)."""
        self._require_range(start, stop)
        if self._pictures is None:
            return self.spec.as_pictures(self.read(start, stop))
        return self._pictures.read(start, stop)

    def take_pictures(self, rows: Int64[np.ndarray, " image"]) -> Pictures:
        """Return what people see of strictly increasing rows."""
        self._require_increasing(rows)
        return self.spec.as_pictures(self.take(rows)) if self._pictures is None else self._pictures.take(rows)

    def image_ids(self, start: int = 0, stop: int | None = None) -> Shaped[np.ndarray, " image"]:
        """Return the image ids of a range of rows as text."""
        return self._column("image_id", start, stop)

    def batch_ids(self, start: int = 0, stop: int | None = None) -> Shaped[np.ndarray, " image"]:
        """Return the batch ids of a range of rows as text."""
        return self._column("batch_id", start, stop)

    def encoded(self, start: int, stop: int) -> list[bytes]:
        """Return the undecoded bytes of images of a store whose images differ in size."""
        if start == stop:
            return []
        edges = self._encoded_edges[start : stop + 1]
        data = self._images[edges[0] : edges[-1]].data
        return [bytes(data[first - edges[0] : last - edges[0]]) for first, last in pairwise(edges.tolist())]

    def _require_range(self, start: int, stop: int) -> None:
        if not 0 <= start <= stop <= self.n_images:
            raise ValueError(f"rows must lie within 0 and {self.n_images}, got {start} to {stop}")

    def _require_increasing(self, rows: Int64[np.ndarray, " image"]) -> None:
        if len(rows) and (rows[0] < 0 or rows[-1] >= self.n_images or (np.diff(rows) <= 0).any()):
            raise ValueError(f"rows must be strictly increasing within 0 and {self.n_images}, got {rows}")

    @cached_property
    def _pictures(self) -> ChunkedRows | None:
        return None if self.picture_shape is None else ChunkedRows(self.path, self._file["pictures"])

    def _needed_transform(self) -> Transform:
        if self._transform is None:
            raise ValueError(f"{self.path} holds images of differing sizes; open it with a transform")
        return self._transform

    def _finish(self, images: InputBlock) -> Shaped[np.ndarray, "image _ _ _"]:
        return images if self._transform is None else self._transform.apply(images)

    def _column(self, name: str, start: int, stop: int | None) -> Shaped[np.ndarray, " image"]:
        column: Any = self._file[name]
        return column[start : self.n_images if stop is None else stop].astype(str)

    @cached_property
    def _encoded_edges(self) -> np.ndarray:
        column: Any = self._file["encoded_stop"]
        return np.concatenate([np.zeros(1, np.int64), column[:]])


def _open(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except FileNotFoundError:
        raise DataError(f"{path} is missing; run stage preprocess") from None
    except OSError as error:
        raise DataError(f"{path} must be a complete HDF5 file, but {error}; rebuild it") from None


def _checked_rows(file: h5py.File, path: Path) -> int:
    schema = file.attrs.get("schema")
    if isinstance(schema, np.integer):
        require_known(int(schema), SCHEMA, str(path))
    if schema not in range(1, SCHEMA + 1):
        raise DataError(f"{path} must be an image store of schema {SCHEMA} or an older one, got {schema}; rebuild it")
    is_encoded = "encoded" in file
    names = [*(["encoded", "encoded_stop"] if is_encoded else ["images"]), "image_id", "batch_id"]
    columns: dict[str, Any] = {name: file.get(name) for name in names}
    for name, column in columns.items():
        if not isinstance(column, h5py.Dataset):
            raise DataError(f"{path} must hold the dataset {name}, got {sorted(file)}; rebuild it")
    if "pictures" in file:
        columns["pictures"] = _checked_pictures(file["pictures"], path)
    if is_encoded:
        _check_encoded(columns.pop("encoded"), columns["encoded_stop"], path)
    if len({len(column) for column in columns.values()}) != 1:
        lengths = {name: len(column) for name, column in columns.items()}
        raise DataError(f"{path} must hold one id an image, got lengths {lengths}; rebuild it")
    return len(columns["image_id"])


def _checked_pictures(pictures: Any, path: Path) -> Any:
    if not isinstance(pictures, h5py.Dataset) or pictures.dtype != np.uint8 or pictures.ndim != 4:
        raise DataError(f"{path} must hold pictures as bytes of four axes, got {pictures}; rebuild it")
    if pictures.chunks is None:
        raise DataError(f"{path} must hold pictures in chunks, got them in one piece; rebuild it")
    return pictures


def _stored_spec(file: h5py.File, path: Path) -> InputSpec:
    images: Any = file["images"]
    try:
        pixels = {"kind": "pixels", "dtype": "uint8", "shape": images.shape[1:], "is_bounded": True}
        spec = read_spec(pixels if file.attrs["schema"] == 1 else json.loads(str(file.attrs["input"])))
    except (KeyError, ValueError, ConfigError) as error:
        raise DataError(f"{path} must state what its images are, but {error}; rebuild it") from None
    if images.dtype != spec.dtype or images.shape[1:] != spec.shape or images.chunks is None:
        raise DataError(
            f"{path} must hold images as chunked {spec.dtype} of shape N×{'×'.join(map(str, spec.shape))}, "
            f"got {images.dtype} of shape {images.shape}; rebuild it"
        )
    return spec


def _check_encoded(encoded: Any, stop: Any, path: Path) -> None:
    n_bytes = int(stop[-1]) if len(stop) else 0
    if encoded.dtype != np.uint8 or encoded.shape != (n_bytes,):
        raise DataError(
            f"{path} must hold {n_bytes} bytes of images, got {encoded.dtype} of shape {encoded.shape}; rebuild it"
        )
