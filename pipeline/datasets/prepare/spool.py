"""Images between reading the source and writing the stores: on disk, in parts by content hash."""

import os
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from jaxtyping import Int64, Shaped

from pipeline.core.errors import DataError
from pipeline.core.image_ids import leading_bits
from pipeline.core.storage import require_free_space

Take = Callable[[Int64[np.ndarray, " image"]], Shaped[np.ndarray, "image ..."]]
"""Returns the rows at some positions of a source or a batch, as stores get them."""

_ROOM = 1.05
"""Ids, labels and chunks beside the pixels, as a factor."""

_PART_BYTES, _MAX_PARTS = 2**26, 128  # each part is an open file, and some systems allow a program 256


class Spool:
    """Rows of stores, as images at model size. Which split and row an image gets is known only when all ids are known.

    The stores are in the order of the hashes, so parts by ranges of hashes are needed one after the other, and each can
    go as soon as it is written: half the space, and the reads lie close together where memory cannot hold all. Reading
    with ``pread`` keeps the memory at one block, whereas a memory map would count as memory of the process.

    Args:
        folder: for the parts; it is made, and removed when the context ends.
        n_expected: how many images will come; their space is asked for with the first block.
        n_more: how many images from elsewhere the stores will get besides.
    """

    def __init__(self, folder: Path, n_expected: int, n_more: int) -> None:
        self._row: np.ndarray | None = None
        self._folder = folder
        self._n_expected, self._n_more = n_expected, n_more
        self._files: list[BinaryIO] = []

    def __enter__(self) -> "Spool":
        self._folder.mkdir()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files:
            file.close()
        shutil.rmtree(self._folder)

    @property
    def n_parts(self) -> int:
        """The number of parts."""
        return len(self._files)

    def append(self, images: Shaped[np.ndarray, "image ..."], hashes: Shaped[np.ndarray, " image"]) -> None:
        """Append images, or rows of any other kind of numbers.

        Raises:
            DataError: they differ in shape from earlier ones.
            ResourceError: the disk cannot hold the spool and the stores made from it.
        """
        if self._row is None:
            self._row = np.empty(images.shape[1:], images.dtype)
            self._open(self._row.nbytes)
        if (images.shape[1:], images.dtype) != (self._row.shape, self._row.dtype):
            raise DataError(
                f"all images must have one shape after preprocessing (channels, height, width), got {self._row.shape} "
                f"and {images.shape[1:]}; set preprocess.size and preprocess.channels"
            )
        parts = self.part_of(hashes)
        order = np.argsort(parts, kind="stable")
        edges = np.searchsorted(parts[order], np.arange(self.n_parts + 1)).tolist()
        ordered = np.ascontiguousarray(images if self.n_parts == 1 else images[order])
        for file, (start, stop) in zip(self._files, pairwise(edges), strict=True):
            data = ordered[start:stop].reshape(-1).view(np.uint8).data
            while data:
                data = data[file.write(data) :]

    def part_of(self, hashes: Shaped[np.ndarray, " image"]) -> Int64[np.ndarray, " image"]:
        """Return the part of each image; larger hashes never have a smaller part."""
        leading = leading_bits(hashes) >> np.uint64(32)
        return (leading * np.uint64(self.n_parts) >> np.uint64(32)).astype(np.int64)

    def parts(self, hashes: Shaped[np.ndarray, " image"]) -> Iterator[Take]:
        """Yield access to one part after the other, by the images' numbers in the order of appending.

        A part is deleted when the next one is asked for.

        Args:
            hashes: of all images, in the order of appending.
        """
        part_of = self.part_of(hashes)
        order = np.argsort(part_of, kind="stable")
        starts = np.searchsorted(part_of[order], np.arange(self.n_parts))
        rows = np.empty(len(order), np.int64)
        rows[order] = np.arange(len(order)) - starts[part_of[order]]
        for part, file in enumerate(self._files):
            yield lambda images, file=file: self._read(file, rows[images])
            file.close()
            self._path(part).unlink()

    def _open(self, image_bytes: int) -> None:
        n_parts = min(_MAX_PARTS, 1 + self._n_expected * image_bytes // _PART_BYTES)
        # A part and its copy in the stores are there together.
        n_images = self._n_expected + self._n_expected // n_parts + self._n_more
        require_free_space(self._folder, int(_ROOM * image_bytes * n_images))
        self._files = [self._path(part).open("w+b", buffering=0) for part in range(n_parts)]

    def _path(self, part: int) -> Path:
        return self._folder / str(part)

    def _read(self, file: BinaryIO, rows: Int64[np.ndarray, " image"]) -> Shaped[np.ndarray, "image ..."]:
        assert self._row is not None
        images = np.empty((len(rows), *self._row.shape), self._row.dtype)
        row_bytes = self._row.nbytes
        buffer = images.reshape(-1).view(np.uint8).data
        descriptor = file.fileno()
        for place, row in enumerate(rows.tolist()):
            os.preadv(descriptor, [buffer[place * row_bytes : (place + 1) * row_bytes]], row * row_bytes)
        return images
