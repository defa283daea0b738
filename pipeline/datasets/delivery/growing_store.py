"""A store of images whose sizes are not known beforehand."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from pipeline.core.image_ids import HASH_DTYPE, format_ids
from pipeline.core.storage import require_free_space
from pipeline.datasets.decoding.decode import encode_png
from pipeline.datasets.decoding.decoded_file import DecodedFile
from pipeline.datasets.delivery.delivery import Delivery
from pipeline.datasets.files.location import storable
from pipeline.datasets.store.images import ImageStore
from pipeline.datasets.store.spec import InputSpec, Shape
from pipeline.datasets.store.writer import StoreWriter, create_store

_BLOCK = 512  # images; HDF5 takes as long for a few
_BLOCK_BYTES = 2**24


class GrowingStore:
    """Starts with pixels where they are given, and changes to encoded bytes at the first image of another shape.

    Pixels that are there already become PNG then: the same pixels, so the same ids. A context manager.

    Args:
        path: of the HDF5 file.
        delivery: that the images come from.
    """

    def __init__(self, path: Path, delivery: Delivery) -> None:
        self._path = path
        self._delivery = delivery
        self._shape: Shape | None = None
        self._context: Any = None
        self._writer: StoreWriter | None = None
        self._waiting: list[DecodedFile] = []
        self._waiting_bytes = 0

    def __enter__(self) -> "GrowingStore":
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: Any) -> None:
        try:
            if kind is None:
                self._write_waiting()
        finally:
            if self._context is not None:
                self._context.__exit__(kind, *error)

    def append(self, files: list[DecodedFile]) -> None:
        """Append images that have pixels, encoded bytes or both; batch ids stay empty."""
        self._waiting += files
        self._waiting_bytes += sum(map(_bytes_held, files))
        if len(self._waiting) >= _BLOCK or self._waiting_bytes >= _BLOCK_BYTES:
            self._write_waiting()

    def _write_waiting(self) -> None:
        if self._waiting:
            self._write(self._waiting)
        self._waiting, self._waiting_bytes = [], 0

    def _write(self, files: list[DecodedFile]) -> None:
        fits = all(file.pixels is not None and file.shape == (self._shape or files[0].shape) for file in files)
        if self._writer is None:
            shape = files[0].shape if fits else None
            # The first images stand for those to come.
            require_free_space(self._path, self._delivery.n_images * _bytes_stored(files, shape))
            self._open(self._path, shape)
        elif self._shape is not None and not fits:
            self._change_to_encoded()
        assert self._writer is not None
        images: Any
        if self._shape is None:
            images = [file.encoded if file.encoded is not None else encode_png(_pixels(file)) for file in files]
        else:
            images = np.stack([_pixels(file) for file in files])
        ids = new_ids([file.hash for file in files])
        self._writer.append(images, ids, np.full(len(ids), b"", "S14"))

    def _open(self, path: Path, shape: Shape | None) -> None:
        self._shape = shape
        spec = None if shape is None else InputSpec.pixels(shape)
        self._context = create_store(path, spec, source=storable(self._delivery.location), split_rule="ingested")
        self._writer = self._context.__enter__()

    def _change_to_encoded(self) -> None:
        self._context.__exit__(None, None, None)
        pixels = self._path.rename(self._path.with_suffix(".pixels"))
        self._open(self._path, None)
        assert self._writer is not None
        with ImageStore(pixels) as store:
            for start in range(0, store.n_images, _BLOCK):
                stop = min(start + _BLOCK, store.n_images)
                encoded = [encode_png(image) for image in store.read(start, stop)]
                self._writer.append(encoded, store.image_ids(start, stop), np.full(stop - start, b"", "S14"))
        pixels.unlink()


def new_ids(hashes: list[bytes]) -> Shaped[np.ndarray, " image"]:
    """Return the ids of images that are the first with their content."""
    return format_ids(np.array(hashes, HASH_DTYPE), np.ones(len(hashes), np.int64))


def _bytes_held(file: DecodedFile) -> int:
    return (0 if file.pixels is None else file.pixels.nbytes) + len(file.encoded or b"")


def _bytes_stored(files: list[DecodedFile], shape: Shape | None) -> int:
    """Return how many bytes one of the images takes, on average."""
    if shape is not None:
        return int(np.prod(shape))
    return sum(_pixels(file).nbytes if file.encoded is None else len(file.encoded) for file in files) // len(files)


def _pixels(file: DecodedFile) -> np.ndarray:
    assert file.pixels is not None
    return file.pixels
