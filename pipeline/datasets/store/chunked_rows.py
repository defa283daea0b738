"""Rows of an uncompressed, chunked dataset of a store: ranges by HDF5, chosen ones straight from the file."""

import os
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, Shaped

from pipeline.core.errors import DataError


class ChunkedRows:
    """Read access to one dataset.

    Args:
        path: of the HDF5 file.
        dataset: of it, chunked along its first axis alone.
    """

    def __init__(self, path: Path, dataset: Any) -> None:
        self._path = path
        self._dataset = dataset

    def read(self, start: int, stop: int) -> Shaped[np.ndarray, "row ..."]:
        """Return rows ``start`` to ``stop`` (exclusive)."""
        return self._dataset[start:stop]

    def take(self, rows: Int64[np.ndarray, " row"]) -> Shaped[np.ndarray, "row ..."]:
        """Return strictly increasing rows.

        Raises:
            DataError: the file is cut.
        """
        found = np.empty((len(rows), *self._dataset.shape[1:]), self._dataset.dtype)
        if not len(rows):
            return found
        row_bytes = found[0].nbytes
        buffer = found.reshape(-1).view(np.uint8).data
        chunks, within = np.divmod(rows, self._dataset.chunks[0])
        offsets = (self._chunk_offsets[chunks] + within * row_bytes).tolist()
        with self._path.open("rb", buffering=0) as file:
            for place, offset in enumerate(offsets):
                part = buffer[place * row_bytes : (place + 1) * row_bytes]
                if os.preadv(file.fileno(), [part], offset) != row_bytes:
                    raise DataError(f"{self._path} ends within row {rows[place]}; run stage preprocess again")
        return found

    @cached_property
    def _chunk_offsets(self) -> np.ndarray:
        # Not HDF5's own selection of rows, which takes fifty times as long (benchmarks/stages.py): the chunks are
        # uncompressed, so a row can be read at its place in the file.
        offsets = np.zeros(-(-len(self._dataset) // self._dataset.chunks[0]), np.int64)

        def note(chunk: Any) -> None:
            offsets[chunk.chunk_offset[0] // self._dataset.chunks[0]] = chunk.byte_offset

        self._dataset.id.chunk_iter(note)
        return offsets
