"""Arrays in files, read by ranges of rows: NPY, NPZ and HDF5. Nothing is unpickled, no link is followed."""

import math
import zipfile
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import h5py
import numpy as np

from pipeline.core.errors import DataError
from pipeline.core.memory import require_plenty
from pipeline.core.text import reason_of
from pipeline.datasets.files.bounds import require_count, require_unpacked, require_written, stored_bytes
from pipeline.datasets.files.location import ByteFile, open_location
from pipeline.datasets.readers.hdf5 import chunks_of_an_image, require_bounded, require_honest_chunk, suspicious_chunks
from pipeline.datasets.readers.npy_header import PickledError, read_npy_header

_IMAGES = "images"
_MOST_AHEAD = 2**28
"""Chunks of more rows than are asked for are kept, up to so many bytes, as each is unpacked as a whole every time."""

_IMAGE_AXES = (3, 4)  # of an array of images

_MOST_ARRAYS = 1000
"""Each costs a millisecond and some kilobytes before any image is read."""

_CHUNKS_AT_ONCE = 4096
"""HDF5 takes some seven kilobytes for every chunk that one call reads from."""

_PLAINLY_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How NumPy packs; of other methods zipfile unpacks whatever a small part holds, all at once."""


@runtime_checkable
class ArrayRows(Protocol):
    """An array whose first axis counts images."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def read(self, n_rows: int) -> np.ndarray:
        """Return the next rows."""
        ...

    def skip(self, n_rows: int) -> None:
        """Pass over the next rows."""
        ...

    def require_bounded(self) -> None:
        """Check that the array is not far larger than what is stored of it.

        Raises:
            DataError: it is.
        """
        ...


@contextmanager
def open_arrays(location: str, within: str | None = None) -> Iterator[Mapping[str, ArrayRows]]:
    """Open all arrays of a file by name; the only one of an NPY file is called ``images``.

    Arrays of pickled objects are left out as long as there are others: nothing is unpickled.

    Args:
        location: path or URL; the ending tells NPY, NPZ and HDF5 (``.h5``, ``.hdf5``) apart.
        within: a folder above it that no link may lead out of.

    Raises:
        DataError: the file is missing, damaged, of another kind, or holds pickled objects alone.
    """
    ending = location.rpartition(".")[2].lower()
    opener = {"npy": _open_npy, "npz": _open_npz, "h5": _open_hdf5, "hdf5": _open_hdf5}.get(ending)
    if opener is None:
        raise DataError(f"{location} must end in .npy, .npz, .h5 or .hdf5; rename it or correct the path")
    with open_location(location, within) as file, _plain_faults(location), opener(file, location) as arrays:
        yield arrays


def could_be_rows(array: ArrayRows) -> bool:
    """Tell whether an array may hold rows of features."""
    return len(array.shape) == 2 and array.dtype.kind == "f"


# --- NPY and NPZ ------------------------------------------------------------------------------------------------------


class _NpyRows:
    def __init__(self, file: ByteFile, name: str, n_bytes: int, n_packed: int | None = None) -> None:
        self.name = name
        self._file = file
        self._n_bytes, self._n_packed = n_bytes, n_packed
        self.shape, self.dtype = read_npy_header(file, name)
        self._row_shape = self.shape[1:]
        self._row_bytes = self.dtype.itemsize * math.prod(self._row_shape)
        needed, there = self._row_bytes * self.shape[0], n_bytes - file.tell()
        if there < needed:
            raise DataError(
                f"{name} must hold {needed} bytes for shape {self.shape} of {self.dtype}, got {there}; "
                "it is truncated, write it again"
            )

    def read(self, n_rows: int) -> np.ndarray:
        data = _read_exactly(self._file, n_rows * self._row_bytes, self.name)
        return np.frombuffer(data, self.dtype).reshape(n_rows, *self._row_shape)

    def skip(self, n_rows: int) -> None:
        self._file.seek(n_rows * self._row_bytes, 1)

    def require_bounded(self) -> None:
        if self._n_packed is not None:
            require_count(self.name, self.shape[0], self._n_packed)
            require_unpacked(self.name, self._n_bytes, self._n_packed)
            return
        n_stored = stored_bytes(self._file, self._n_bytes)
        require_count(self.name, self.shape[0], n_stored)
        require_written(self.name, n_stored, self._n_bytes)


@contextmanager
def _open_npy(file: ByteFile, location: str) -> Iterator[Mapping[str, ArrayRows]]:
    n_bytes = file.seek(0, 2)
    file.seek(0)
    rows = _NpyRows(file, location, n_bytes)
    yield {_IMAGES: rows}


@contextmanager
def _open_npz(file: ByteFile, location: str) -> Iterator[Mapping[str, ArrayRows]]:
    with zipfile.ZipFile(file) as archive:
        arrays: dict[str, ArrayRows] = {}
        pickled: PickledError | None = None
        members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
        _require_few(location, len(members))
        for member in members:
            name = f"{location}:{member.filename}"
            if member.compress_type not in _PLAINLY_PACKED:
                raise DataError(f"{name} must be packed as NumPy does, got another method; use numpy.savez")
            try:
                rows = _NpyRows(archive.open(member), name, member.file_size, member.compress_size)
            except PickledError as error:
                pickled = error
            else:
                arrays[member.filename.removesuffix(".npy")] = rows
        if pickled is not None and not arrays:
            raise pickled
        yield arrays


def _read_exactly(file: ByteFile, n_bytes: int, name: str) -> bytes:
    data = file.read(n_bytes)
    if len(data) < n_bytes:
        raise DataError(f"{name} ends after {len(data)} of {n_bytes} bytes; it is truncated, write it again")
    return data


def _keeps_elsewhere(name: str) -> DataError:
    return DataError(f"{name} keeps its data in other files, which are not read; copy them into this one")


# --- HDF5 -------------------------------------------------------------------------------------------------------------


class _Hdf5Rows:
    def __init__(self, dataset: h5py.Dataset, location: str, n_stored: int) -> None:
        self.name = f"{location}:{dataset.name}"
        self._dataset: Any = dataset
        self.shape, self.dtype = tuple(map(int, dataset.shape)), dataset.dtype
        self._next = 0
        if dataset.external or dataset.is_virtual:
            raise _keeps_elsewhere(self.name)
        self._n_stored = n_stored
        self._ahead: tuple[int, np.ndarray] | None = None
        self._suspects: deque[tuple[int, ...]] | None = None

    def require_bounded(self) -> None:
        require_count(self.name, self.shape[0], self._n_stored)
        require_bounded(self._dataset, self.name, self._n_stored)

    def skip(self, n_rows: int) -> None:
        self._next += n_rows

    def read(self, n_rows: int) -> np.ndarray:
        if self._suspects is None:
            self._suspects = deque(suspicious_chunks(self._dataset))
        self._next += n_rows
        while self._suspects and self._suspects[0][0] < self._next:
            require_honest_chunk(self._dataset, self.name, self._suspects.popleft())
        start, stop = self._next - n_rows, self._next
        n_ahead = self._dataset.chunks[0] if self._dataset.chunks else 1
        if n_rows >= n_ahead or n_ahead * math.prod(self.shape[1:]) * self.dtype.itemsize > _MOST_AHEAD:
            step = max(1, _CHUNKS_AT_ONCE // chunks_of_an_image(self._dataset)) * n_ahead
            return np.concatenate(
                [self._dataset[first : min(first + step, stop)] for first in range(start, stop, step)]
            )
        parts: list[np.ndarray] = []
        while start < stop:
            first = start - start % n_ahead
            if self._ahead is None or self._ahead[0] != first:
                self._ahead = None  # so that two are not held
                self._ahead = first, np.asarray(self._dataset[first : first + n_ahead])
            parts.append(self._ahead[1][start - first : stop - first])
            start = first + n_ahead
        return np.concatenate(parts)


@contextmanager
def _open_hdf5(file: ByteFile, location: str) -> Iterator[Mapping[str, ArrayRows]]:
    n_stored = stored_bytes(file, file.seek(0, 2))
    file.seek(0)
    with h5py.File(file, "r") as opened:
        arrays: dict[str, ArrayRows] = {}
        elsewhere: list[str] = []
        _collect_hard_linked(arrays, elsewhere, opened, location, n_stored, "", set())
        if elsewhere and not any(len(array.shape) in _IMAGE_AXES or could_be_rows(array) for array in arrays.values()):
            raise _keeps_elsewhere(f"{location}:/{elsewhere[0]}")
        yield arrays


def _collect_hard_linked(
    arrays: dict[str, ArrayRows],
    elsewhere: list[str],
    group: Any,
    location: str,
    n_stored: int,
    prefix: str,
    seen: set[Any],
) -> None:
    """Collect datasets, and names that lead into other files; links are passed over: some lead round in circles."""
    seen.add(group.id)
    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            elsewhere += [prefix + name] if isinstance(link, h5py.ExternalLink) else []
            continue
        item: Any = group[name]
        if isinstance(item, h5py.Dataset) and item.shape:
            arrays[prefix + name] = _Hdf5Rows(item, location, n_stored)
        elif isinstance(item, h5py.Group) and item.id not in seen:
            _collect_hard_linked(arrays, elsewhere, item, location, n_stored, f"{prefix}{name}/", seen)
        _require_few(location, len(arrays) + len(seen))


def _require_few(location: str, n_arrays: int) -> None:
    if n_arrays > _MOST_ARRAYS:
        raise DataError(
            f"{location} must hold at most {_MOST_ARRAYS} arrays and groups, got more; put the images into one array"
        )


@contextmanager
def _plain_faults(location: str) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    # What zipfile and h5py raise on damaged files, wherever they meet the damage.
    except (
        zipfile.BadZipFile,
        zlib.error,
        OSError,
        RuntimeError,
        NotImplementedError,
        EOFError,
        KeyError,
        ValueError,
        TypeError,
        OverflowError,
        MemoryError,
    ) as error:
        require_plenty(f"reading {location}", error)
        raise DataError(f"{location} must be complete and undamaged, but {reason_of(error)}; write it again") from None
