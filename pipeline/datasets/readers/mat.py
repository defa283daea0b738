"""Numeric arrays in MATLAB 5 files, read as a stream.

Not by ``scipy.io.loadmat``, which cannot be bounded (scipy 1.17): each of five series of 1,500 small files with up to
eight changed bytes ended the process by a segmentation fault or a bus error, and a file of 0.5 MB with an array of one
number took 750 MiB. In a process of its own with a limit of memory, a call would take 0.8 s. The tests compare with it.
The format is described in MathWorks' "MAT-File Format"; of its elements only numeric arrays are understood.
"""

import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.errors import DataError

_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""Data types as they lie in the file, by number."""

_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
"""What the array is in MATLAB; whole numbers may be stored in a narrower type."""

_MOST_HEADER_BYTES = 4096
_BLOCK = 2**16


@dataclass(frozen=True)
class MatArray:
    """One variable of a file.

    Attributes:
        name: of the variable.
        dtype: of its values; None for anything but a real numeric array.
        shape: as in MATLAB, where the *first* axis varies fastest.
    """

    name: str
    dtype: np.dtype | None
    shape: tuple[int, ...]
    _element: "_Element"
    _stored: np.dtype | None

    def values(self, n_at_once: int) -> Iterator[np.ndarray]:
        """Yield all values in the order of the file, ``n_at_once`` at a time, one axis.

        Raises:
            DataError: the file ends early or is damaged.
        """
        if self.dtype is None or self._stored is None:
            raise ValueError(f"{self.name} holds no numbers")
        left = math.prod(self.shape)
        with self._element.open() as stream:
            _matrix_header(stream)
            _, length, in_tag = _tag(stream)
            if in_tag is not None:
                yield np.frombuffer(in_tag[:length], self._stored).astype(self.dtype)
                return
            while left:
                n = min(left, n_at_once)
                yield np.frombuffer(stream.read(n * self._stored.itemsize), self._stored).astype(self.dtype)
                left -= n


def list_arrays(path: Path) -> dict[str, MatArray]:
    """Return the variables of a file by name; only headers are read.

    Raises:
        DataError: the file is missing or no MATLAB 5 file.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            order = _byte_order(path, file.read(_HEADER_BYTES))
            arrays: dict[str, MatArray] = {}
            place = _HEADER_BYTES
            while place + 8 <= size:
                file.seek(place)
                kind, length = struct.unpack(f"{order}II", file.read(8))
                if kind not in (_MATRIX, _COMPRESSED):
                    raise _damaged(path, f"it has an element of kind {kind} at byte {place}")
                array = _describe(_Element(path, place, length, order, kind == _COMPRESSED))
                arrays[array.name] = array
                place += 8 + length
    except FileNotFoundError:
        raise DataError(f"{path} is missing; put the file there or run facets scan to download it") from None
    return arrays


@dataclass(frozen=True)
class _Element:
    """Where a variable lies: from its tag at ``place`` on, ``length`` bytes after the tag."""

    path: Path
    place: int
    length: int
    order: str
    is_compressed: bool

    @contextmanager
    def open(self) -> "Iterator[_Stream]":
        with self.path.open("rb") as file:
            file.seek(self.place + (8 if self.is_compressed else 0))
            yield _Stream(self, file)


class _Stream:
    """The bytes of an element's matrix, unpacked, from its tag on; memory holds a small part."""

    def __init__(self, element: _Element, file: Any) -> None:
        self.element = element
        self._file = file
        self._left = element.length + (0 if element.is_compressed else 8)
        self._inflater = zlib.decompressobj() if element.is_compressed else None

    def read(self, n: int) -> bytes:
        """Return exactly ``n`` bytes."""
        parts: list[bytes] = []
        while n > 0:
            part = self._some(min(n, _BLOCK))
            if not part:
                raise _damaged(self.element.path, "it ends early")
            parts.append(part)
            n -= len(part)
        return b"".join(parts)

    def _some(self, most: int) -> bytes:
        if self._inflater is None:
            return self._raw(most)
        while not self._inflater.eof:
            packed = self._inflater.unconsumed_tail or self._raw(_BLOCK)
            try:
                part = self._inflater.decompress(packed, most)
            except zlib.error as error:
                raise _damaged(self.element.path, str(error)) from None
            if part or not packed:
                return part
        return b""

    def _raw(self, most: int) -> bytes:
        data = self._file.read(min(most, self._left))
        self._left -= len(data)
        return data


def _describe(element: _Element) -> MatArray:
    with element.open() as stream:
        name, shape, kind, is_complex = _matrix_header(stream)
        dtype = None if is_complex else _CLASSES.get(kind)
        stored = None
        if dtype is not None:
            number, length, _ = _tag(stream)
            stored = np.dtype(element.order + _STORED[number]) if number in _STORED else None
            if stored is None or length != math.prod(shape) * stored.itemsize:
                raise _damaged(element.path, f"{name} is {shape} but {length} bytes of kind {number}")
        return MatArray(name, None if dtype is None else np.dtype(dtype), shape, element, stored)


def _matrix_header(stream: _Stream) -> tuple[str, tuple[int, ...], int, bool]:
    """Return name, shape, class number and whether there is an imaginary part."""
    path, order = stream.element.path, stream.element.order
    if struct.unpack(f"{order}I", stream.read(8)[:4]) != (_MATRIX,):
        raise _damaged(path, "an element holds no matrix")
    flags, sizes, name = (_small_element(stream) for _ in range(3))
    if len(flags) != 8 or len(sizes) % 4 or not sizes:
        raise _damaged(path, "a variable has no proper header")
    (word,) = struct.unpack(f"{order}I", flags[:4])
    shape = struct.unpack(f"{order}{len(sizes) // 4}i", sizes)
    if min(shape) < 0:
        raise _damaged(path, f"a variable has the shape {shape}")
    return name.decode("ascii", "replace"), shape, word & 0xFF, bool(word & 0x0800)


def _small_element(stream: _Stream) -> bytes:
    _, length, in_tag = _tag(stream)
    if in_tag is not None:
        return in_tag[:length]
    if length > _MOST_HEADER_BYTES:
        raise _damaged(stream.element.path, f"a variable has a header of {length} bytes")
    return stream.read(-(-length // 8) * 8)[:length]


def _tag(stream: _Stream) -> tuple[int, int, bytes | None]:
    """Return kind, length in bytes and, for up to four bytes, the data, which then lie in the tag itself."""
    data = stream.read(4)
    order = stream.element.order
    (word,) = struct.unpack(f"{order}I", data)
    if word >> 16 == 0:
        return word, struct.unpack(f"{order}I", stream.read(4))[0], None
    if word >> 16 > 4:
        raise _damaged(stream.element.path, f"a short element claims {word >> 16} bytes")
    return word & 0xFFFF, word >> 16, stream.read(4)


def _byte_order(path: Path, header: bytes) -> str:
    if header.startswith(b"\x89HDF") or b"MATLAB 7.3" in header[:20]:
        raise DataError(f"{path} must be a MATLAB 5 file, got one of version 7.3; save it with '-v7'")
    orders = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}
    if header[124:] not in orders:
        raise DataError(f"{path} must be a MATLAB 5 file, but it does not begin like one; fetch the file again")
    return orders[header[124:]]


def _damaged(path: Path, reason: str) -> DataError:
    return DataError(f"{path} must be a complete MATLAB 5 file, but {reason}; fetch the file again")
