"""Sorted content hashes in a file: written and merged as streams, searched with a few reads a hash.

The hashes, 16 bytes each, ascending, and behind them the first one of every 256: whoever searches has this index in
memory, a 256th of the file, and reads the one page that can hold a hash. A memory map would need no index, but whole
stretches of the file around each page would count as memory of the process.
"""

import os
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Bool, Int64, Shaped

from pipeline.core.image_ids import HASH_DTYPE, are_among, enclose

_PAGE = 256
"""Hashes that are read at once: 4 KiB."""

_BLOCK = 2**20
"""Hashes that are in memory at once while files are merged."""

_NEEDLES = 2048
"""Hashes that are looked up at once."""


class SortedHashes:
    """Hashes that :func:`write_hashes` wrote. The file may be deleted meanwhile; it is closed with the last reference.

    Args:
        path: of the file.
        n_rows: how many hashes it holds.
        start: its bytes before the first one.
    """

    def __init__(self, path: Path, n_rows: int, start: int = 0) -> None:
        self.n_rows, self._start = n_rows, start
        self._descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)
        size = HASH_DTYPE.itemsize
        index = os.pread(self._descriptor, -(-n_rows // _PAGE) * size, start + n_rows * size)
        self._first = np.frombuffer(index, HASH_DTYPE)

    def has(self, hashes: Shaped[np.ndarray, " image"]) -> Bool[np.ndarray, " image"]:
        """Tell which content hashes are in the file, where one of 64 bits stands for all that begin with it."""
        found = np.zeros(len(hashes), bool)
        order = np.argsort(hashes)  # so that a page that several are on is read once
        for start in range(0, len(order), _NEEDLES):
            some = order[start : start + _NEEDLES]
            wanted = hashes[some]
            # What matches a hash lies on its page, or on that of the least or the greatest that begins like it.
            pages = [np.searchsorted(self._first, edge, "right") - 1 for edge in (wanted, *enclose(wanted))]
            found[some] = are_among(wanted, self._read_pages(np.unique(np.concatenate(pages).clip(min=0))))
        return found

    def read(self, start: int, stop: int) -> Shaped[np.ndarray, " row"]:
        """Return the hashes of some rows."""
        size = HASH_DTYPE.itemsize
        return np.frombuffer(os.pread(self._descriptor, (stop - start) * size, self._start + start * size), HASH_DTYPE)

    def place(self, edge: bytes) -> int:
        """Return how many hashes are smaller than one."""
        page = max(0, int(np.searchsorted(self._first, np.array(edge, HASH_DTYPE))) - 1)
        rows = self.read(page * _PAGE, min((page + 1) * _PAGE, self.n_rows))
        return page * _PAGE + int(np.searchsorted(rows, np.array(edge, HASH_DTYPE)))

    def _read_pages(self, pages: Int64[np.ndarray, " page"]) -> Shaped[np.ndarray, " row"]:
        """Return the hashes on some pages, which ascend, so they are sorted."""
        size = _PAGE * HASH_DTYPE.itemsize
        rows = np.empty(len(pages) * _PAGE, HASH_DTYPE)
        buffer = rows.view(np.uint8).data
        for place, page in enumerate(pages.tolist()):
            os.preadv(self._descriptor, [buffer[place * size : (place + 1) * size]], self._start + page * size)
        # The last page of the file may be short, and the index follows it.
        n_beyond = max(0, (int(pages[-1]) + 1) * _PAGE - self.n_rows) if len(pages) else 0
        return rows[: len(rows) - n_beyond]


def write_hashes(file: BinaryIO, blocks: Iterator[Shaped[np.ndarray, " row"]]) -> int:
    """Write hashes that ascend over all blocks, and the index behind them; return how many there were."""
    n_rows, index = 0, [np.empty(0, HASH_DTYPE)]
    for block in blocks:
        file.write(np.ascontiguousarray(block).view(np.uint8).data)
        index.append(block[-n_rows % _PAGE :: _PAGE])
        n_rows += len(block)
    file.write(np.concatenate(index).view(np.uint8).data)
    return n_rows


def merged(sources: Sequence[SortedHashes]) -> Iterator[Shaped[np.ndarray, " row"]]:
    """Yield the hashes of all files in ascending order, about a block at a time, as hashes are spread evenly."""
    n_ranges = max(1, -(-sum(source.n_rows for source in sources) // _BLOCK))
    edges = [((place << 64) // n_ranges).to_bytes(8, "big") for place in range(1, n_ranges)]
    cuts = [[0, *map(source.place, edges), source.n_rows] for source in sources]
    for place in range(n_ranges):
        some = [source.read(cut[place], cut[place + 1]) for source, cut in zip(sources, cuts, strict=True)]
        yield np.sort(np.concatenate(some))


def sorted_blocks(hashes: Iterator[Shaped[np.ndarray, " _"]], scratch: Path) -> list[SortedHashes]:
    """Write hashes in any order as files of sorted blocks.

    Args:
        hashes: some at a time.
        scratch: folder for the files.
    """
    files: list[SortedHashes] = []
    waiting: list[np.ndarray] = []

    def write() -> None:
        path = scratch / str(len(files))
        with path.open("wb") as file:
            n_rows = write_hashes(file, iter([np.sort(np.concatenate(waiting))]))
        files.append(SortedHashes(path, n_rows))
        waiting.clear()

    for some in hashes:
        waiting.append(some)
        if sum(map(len, waiting)) >= _BLOCK:
            write()
    if waiting:
        write()
    return files
