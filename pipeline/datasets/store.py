"""Images on disk: one HDF5 file a split or a batch, written as a stream and read by row ranges.

Layout (schema 1). Dataset ``images``: uint8, ``image channel height width``, chunked by rows, about 1 MiB a chunk,
uncompressed so that a row can be read on its own. Batches whose images differ in size hold ``encoded`` instead: the
undecoded bytes of each image. Beside it ``image_id`` and ``batch_id`` (fixed-length ASCII). Attributes: ``schema``,
``source``, ``split_rule``.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from jaxtyping import Int64, Shaped, UInt8

from pipeline.datasets.hdf5_writer import Disk, write_hdf5
from pipeline.datasets.identity import ID_DTYPE
from pipeline.datasets.transform import ImageTransform
from pipeline.errors import DataError
from pipeline.storage import atomic_file

SCHEMA = 1

_BATCH_ID_DTYPE = np.dtype("S14")
_CHUNK_BYTES = 2**20
_ENCODED = h5py.vlen_dtype(np.uint8)

ImageBlock = UInt8[np.ndarray, "image channel height width"]


class StoreWriter:
    """Appends images to a store that :func:`write_store` opened."""

    def __init__(self, file: h5py.File, disk: Disk, image_shape: tuple[int, int, int] | None) -> None:
        self._file, self._disk = file, disk
        self._n_images = 0
        if image_shape is None:
            self._images = file.create_dataset("encoded", (0,), _ENCODED, maxshape=(None,), chunks=(1024,))
        else:
            rows = max(1, _CHUNK_BYTES // int(np.prod(image_shape)))
            self._images = file.create_dataset(
                "images", (0, *image_shape), np.uint8, maxshape=(None, *image_shape), chunks=(rows, *image_shape)
            )
        for name, dtype in (("image_id", ID_DTYPE), ("batch_id", _BATCH_ID_DTYPE)):
            file.create_dataset(name, (0,), dtype, maxshape=(None,), chunks=(4096,))

    def append(
        self,
        images: ImageBlock | Sequence[bytes],
        image_ids: Shaped[np.ndarray, " image"],
        batch_ids: Shaped[np.ndarray, " image"],
    ) -> None:
        """Append rows.

        Args:
            images: pixels; or undecoded bytes where the store has no common image shape.
            image_ids: as bytes or text.
            batch_ids: as bytes or text.
        """
        start, stop = self._n_images, self._n_images + len(image_ids)
        self._images.resize(stop, axis=0)
        if isinstance(images, np.ndarray):
            self._images[start:stop] = images
        else:
            self._write_encoded(images, start)
        for name, values in (("image_id", image_ids), ("batch_id", batch_ids)):
            column: Any = self._file[name]
            column.resize(stop, axis=0)
            column[start:] = np.asarray(values).astype(column.dtype)
        self._n_images = stop
        self._disk.raise_fault()

    def _write_encoded(self, images: Sequence[bytes], start: int) -> None:
        # At once, four times as fast as row by row; h5py's indexing would take rows of equal length for a table.
        rows = np.empty(len(images), _ENCODED)
        for row, data in enumerate(images):
            rows[row] = np.frombuffer(data, np.uint8)
        place = self._images.id.get_space()
        place.select_hyperslab((start,), (len(rows),))
        self._images.id.write(h5py.h5s.create_simple((len(rows),)), place, rows)


@contextmanager
def create_store(
    path: Path, image_shape: tuple[int, int, int] | None, *, source: str, split_rule: str
) -> Iterator[StoreWriter]:
    """Do as :func:`write_store` at a place where nobody looks yet: the file grows in sight and is not synced."""
    with write_hdf5(path) as (file, disk):
        file.attrs["schema"] = SCHEMA
        file.attrs["source"] = source
        file.attrs["split_rule"] = split_rule
        yield StoreWriter(file, disk, image_shape)


@contextmanager
def write_store(
    path: Path, image_shape: tuple[int, int, int] | None, *, source: str, split_rule: str
) -> Iterator[StoreWriter]:
    """Open a new store for appending; it appears at ``path`` when the block ends without an error.

    Args:
        path: of the HDF5 file.
        image_shape: channel, height, width; None for a store of undecoded bytes of images that differ in size.
        source: which source the images come from.
        split_rule: how the images of this store were chosen.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    with (
        atomic_file(path) as temporary,
        create_store(temporary, image_shape, source=source, split_rule=split_rule) as writer,
    ):
        yield writer


class ImageStore:
    """Read access to a store; use it as a context manager.

    Args:
        path: of the HDF5 file.
        transform: applied to every image that is read; None returns images as stored.

    Raises:
        DataError: the file is missing, damaged, or not a store of this schema.
    """

    def __init__(self, path: Path, transform: ImageTransform | None = None) -> None:
        self.path = path
        self._transform = transform
        self._file = _open(path)
        try:
            self.n_images = _checked_rows(self._file, path)
        except DataError:
            self._file.close()
            raise
        self.is_encoded = "encoded" in self._file
        self._images: Any = self._file["encoded" if self.is_encoded else "images"]

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
        """``schema``, ``source`` and ``split_rule``."""
        return dict(self._file.attrs)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channel, height and width of the images that :meth:`read` returns."""
        if self.is_encoded:
            if self._transform is None:
                raise ValueError(f"{self.path} holds images of differing sizes; open it with a transform")
            return self._transform.output_shape((3, 1, 1))
        _, n_channels, height, width = map(int, self._images.shape)
        shape = n_channels, height, width
        return shape if self._transform is None else self._transform.output_shape(shape)

    def read(self, start: int, stop: int) -> ImageBlock:
        """Return the images of rows ``start`` to ``stop`` (exclusive)."""
        if not 0 <= start <= stop <= self.n_images:
            raise ValueError(f"rows must lie within 0 and {self.n_images}, got {start} to {stop}")
        return self._finish(self._images[start:stop])

    def take(self, rows: Int64[np.ndarray, " image"]) -> ImageBlock:
        """Return the images of strictly increasing rows: a random mini-batch, read row by row from the disk."""
        if len(rows) and (rows[0] < 0 or rows[-1] >= self.n_images or (np.diff(rows) <= 0).any()):
            raise ValueError(f"rows must be strictly increasing within 0 and {self.n_images}, got {rows}")
        if self.is_encoded:
            return self._finish([self._images[int(row)] for row in rows])
        return self._finish(self._read_rows(rows))

    def image_ids(self, start: int = 0, stop: int | None = None) -> Shaped[np.ndarray, " image"]:
        """Return the image ids of a range of rows as text."""
        return self._column("image_id", start, stop)

    def batch_ids(self, start: int = 0, stop: int | None = None) -> Shaped[np.ndarray, " image"]:
        """Return the batch ids of a range of rows as text."""
        return self._column("batch_id", start, stop)

    def encoded(self, start: int, stop: int) -> list[bytes]:
        """Return the undecoded bytes of images of a store whose images differ in size."""
        return [data.tobytes() for data in self._images[start:stop]]

    def _finish(self, images: Any) -> ImageBlock:
        if self.is_encoded:
            from pipeline.datasets.decode import decode_image

            images = [decode_image(data.tobytes()) for data in images]
        return images if self._transform is None else self._transform.apply(images)

    def _column(self, name: str, start: int, stop: int | None) -> Shaped[np.ndarray, " image"]:
        column: Any = self._file[name]
        return column[start : self.n_images if stop is None else stop].astype(str)

    @cached_property
    def _chunk_offsets(self) -> np.ndarray:
        # The chunks are uncompressed, so a row can be read at its place in the file: hundreds of times faster than
        # HDF5's selection of single rows.
        offsets = np.zeros(-(-self.n_images // self._images.chunks[0]), np.int64)

        def note(chunk: Any) -> None:
            offsets[chunk.chunk_offset[0] // self._images.chunks[0]] = chunk.byte_offset

        self._images.id.chunk_iter(note)
        return offsets

    def _read_rows(self, rows: np.ndarray) -> np.ndarray:
        images = np.empty((len(rows), *self._images.shape[1:]), np.uint8)
        if not len(rows):
            return images
        row_bytes = images[0].nbytes
        buffer = images.reshape(-1).data
        chunks, within = np.divmod(rows, self._images.chunks[0])
        offsets = (self._chunk_offsets[chunks] + within * row_bytes).tolist()
        with self.path.open("rb", buffering=0) as file:
            for place, offset in enumerate(offsets):
                part = buffer[place * row_bytes : (place + 1) * row_bytes]
                if os.preadv(file.fileno(), [part], offset) != row_bytes:
                    raise DataError(f"{self.path} ends within row {rows[place]}; run stage preprocess again")
        return images


def _open(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except FileNotFoundError:
        raise DataError(f"{path} is missing; run stage preprocess") from None
    except OSError as error:
        raise DataError(f"{path} must be a complete HDF5 file, but {error}; rebuild it") from None


def _checked_rows(file: h5py.File, path: Path) -> int:
    schema = file.attrs.get("schema")
    if schema != SCHEMA:
        raise DataError(f"{path} must be an image store of schema {SCHEMA}, got schema {schema}; rebuild it")
    name = "encoded" if "encoded" in file else "images"
    columns: dict[str, Any] = {key: file.get(key) for key in (name, "image_id", "batch_id")}
    for key, column in columns.items():
        if not isinstance(column, h5py.Dataset):
            raise DataError(f"{path} must hold the dataset {key}, got {sorted(file)}; rebuild it")
    images = columns[name]
    if name == "images" and (images.dtype != np.uint8 or images.ndim != 4 or images.chunks is None):
        raise DataError(
            f"{path} must hold images as chunked uint8 N×C×H×W, got {images.dtype} of shape {images.shape}; rebuild it"
        )
    if len({len(column) for column in columns.values()}) != 1:
        lengths = {key: len(column) for key, column in columns.items()}
        raise DataError(f"{path} must hold one id an image, got lengths {lengths}; rebuild it")
    return len(images)
