"""The header of a NumPy array in a file of other people."""

import io
import re
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from pipeline.core.errors import DataError
from pipeline.core.text import reason_of
from pipeline.datasets.files.location import ByteFile

_MOST_HEADER = 10_000
_NPY_HEADERS = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}
"""Readers of headers by version; 3.0 differs by names of records alone."""

_PLAIN_DTYPE = re.compile(r"[<>|=]?(?:b1|[ui][1248]|f[248]|[SU][1-9]\d{0,5})")


class PickledError(DataError):
    """An array is one of pickled objects."""


def read_npy_header(file: ByteFile, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Read the header of a plain array of numbers or texts, and leave the file at its first row.

    numpy reads as much as the file states for its header, up to 4 GiB, so it is given the beginning of the file alone.

    Args:
        file: at the header's first byte.
        name: of the file or array, for messages.

    Returns:
        shape and type of the array.

    Raises:
        PickledError: it is of objects.
        DataError: the header is damaged or too long, or the array is no plain one in C order.
    """
    head = io.BytesIO(file.read(_MOST_HEADER))
    try:
        version = npy_format.read_magic(head)
        if version not in _NPY_HEADERS:
            raise ValueError(f"its version is {version}")
        shape, fortran, dtype = _NPY_HEADERS[version](head, max_header_size=_MOST_HEADER)
        if not all(type(n) is int and 0 <= n < 2**40 for n in shape):
            raise ValueError(f"shape {shape!r}")
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError, TokenError) as error:
        raise DataError(f"{name} must have a NumPy array header, but {reason_of(error)}; write it again") from None
    if dtype.hasobject:
        raise PickledError(f"{name} holds pickled objects, which are never loaded; save a plain array of numbers")
    if dtype.names:
        raise DataError(f"{name} must hold plain numbers, got records {dtype}; save one array a file")
    if not _PLAIN_DTYPE.fullmatch(dtype.str):
        raise DataError(f"{name} must hold whole or floating-point numbers, got {dtype.str!r}; convert the array")
    if fortran and len(shape) > 1:
        raise DataError(f"{name} must be in C order, got Fortran order; save numpy.ascontiguousarray of it")
    if not shape:
        raise DataError(f"{name} must be an array of images or rows, got a single number; save the whole array")
    file.seek(head.tell())
    return shape, dtype
