"""Rows of equal length on disk, written as they come and read back in any order."""

import os
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from jaxtyping import Int64, UInt8

from pipeline.errors import DataError
from pipeline.storage import require_free_space

Shape = tuple[int, int, int]

_ROOM = 1.05
"""Ids, labels and chunks beside the pixels, as a factor."""


class Spool:
    """Images at model size between reading the source and writing the stores.

    Which split and row an image gets is known only when all ids are known. Reading with ``pread`` keeps the memory at
    one block, whereas a memory map of the file would count as memory of the process.

    Args:
        path: of the spool file; removed when the context ends.
        n_expected: how many images will come; their space is asked for with the first block.
        n_more: how many images from elsewhere the stores will get besides.
    """

    def __init__(self, path: Path, n_expected: int, n_more: int) -> None:
        self.image_shape: Shape | None = None
        self._path = path
        self._n_expected, self._n_more = n_expected, n_more
        self._file: BinaryIO = path.open("w+b", buffering=0)

    def __enter__(self) -> "Spool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._path.unlink()

    def append(self, images: UInt8[np.ndarray, "image channel height width"]) -> None:
        """Append images.

        Raises:
            DataError: they differ in shape from earlier ones.
            ResourceError: the disk cannot hold the spool and the stores made from it.
        """
        shape: Shape = (images.shape[1], images.shape[2], images.shape[3])
        if self.image_shape is None:
            self.image_shape = shape
            # The spool, and the stores that are written from it before it goes.
            n_written = self._n_expected + self._n_expected + self._n_more
            require_free_space(self._path, int(_ROOM * n_written * int(np.prod(shape))))
        if shape != self.image_shape:
            raise DataError(
                f"all images must have one shape after preprocessing (channels, height, width), got {self.image_shape} "
                f"and {shape}; set preprocess.size and preprocess.channels"
            )
        data = np.ascontiguousarray(images).reshape(-1).data
        while data:
            data = data[self._file.write(data) :]

    def take(self, rows: Int64[np.ndarray, " image"]) -> UInt8[np.ndarray, "image channel height width"]:
        """Return the images that were appended as number ``rows``, in that order."""
        if self.image_shape is None:
            raise ValueError("a spool without images has no rows to take")
        images = np.empty((len(rows), *self.image_shape), np.uint8)
        row_bytes = int(np.prod(self.image_shape))
        buffer = images.reshape(-1).data
        descriptor = self._file.fileno()
        for place, row in enumerate(rows.tolist()):
            os.preadv(descriptor, [buffer[place * row_bytes : (place + 1) * row_bytes]], row * row_bytes)
        return images
