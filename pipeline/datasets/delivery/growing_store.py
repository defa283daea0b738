"""A store of images whose sizes are not known beforehand."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from pipeline.core.image_ids import HASH_DTYPE, format_ids
from pipeline.core.storage import require_free_space
from pipeline.datasets.decoding.decode import encode_png
from pipeline.datasets.delivery.delivery import Delivery
from pipeline.datasets.files.location import storable
from pipeline.datasets.readers.block import Block
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
        self._waiting: list[Block] = []

    def __enter__(self) -> "GrowingStore":
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: Any) -> None:
        try:
            if kind is None:
                self._write_waiting()
        finally:
            if self._context is not None:
                self._context.__exit__(kind, *error)

    def append(self, block: Block) -> None:
        """Append images that have pixels, encoded bytes or both; batch ids stay empty."""
        if not len(block.paths):
            return
        self._waiting.append(block)
        n_images = sum(len(waiting.paths) for waiting in self._waiting)
        if n_images >= _BLOCK or sum(map(_bytes_held, self._waiting)) >= _BLOCK_BYTES:
            self._write_waiting()

    def _write_waiting(self) -> None:
        if self._waiting:
            self._write(self._waiting)
        self._waiting = []

    def _write(self, blocks: list[Block]) -> None:
        shapes = np.concatenate([block.shapes for block in blocks])
        n_channels, height, width = shapes[0].tolist() if self._shape is None else self._shape
        has_pixels = all(image is not None for block in blocks for image in block.images)
        fits = has_pixels and bool((shapes == (n_channels, height, width)).all())
        if self._writer is None:
            shape = (n_channels, height, width) if fits else None
            # The first images stand for those to come.
            n_bytes = int(np.prod(shape)) if shape else sum(map(_bytes_stored, blocks)) // len(shapes)
            require_free_space(self._path, self._delivery.n_images * n_bytes)
            self._open(self._path, shape)
        elif self._shape is not None and not fits:
            self._change_to_encoded()
        assert self._writer is not None
        images: Any
        if self._shape is None:
            images = [data for block in blocks for data in block.encoded or map(encode_png, block.pixels)]
        else:
            images = np.empty((len(shapes), n_channels, height, width), np.uint8)
            for place, image in enumerate(image for block in blocks for image in block.pixels):
                images[place] = image  # copied once; an array of each block, then one of all, would be twice
        ids = new_ids([content for block in blocks for content in block.hashes.tolist()])
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


def _bytes_held(block: Block) -> int:
    if isinstance(block.images, np.ndarray):
        return block.images.nbytes
    return sum(image.nbytes for image in block.images if image is not None) + sum(map(len, block.encoded or ()))


def _bytes_stored(block: Block) -> int:
    return sum(map(len, block.encoded)) if block.encoded else _bytes_held(block)
