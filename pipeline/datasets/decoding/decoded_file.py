"""The outcome of decoding one file, and how outcomes travel from one process to another."""

from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from pipeline.datasets.store.spec import Shape


class DecodedFile(NamedTuple):
    """One file's outcome: a reason why it was refused, or the rest.

    Attributes:
        name: of the file.
        reason: why it was refused.
        hash: of the pixels at source size.
        shape: channel, height, width at the source.
        pixels: as they were wanted.
        encoded: bytes of an image file with the hashed pixels.
        peak: the largest value of a 16-bit image before it was scaled; -1 of other images.
        is_transparent: whether a pixel was not opaque, and shows white.
    """

    name: str
    reason: str | None
    hash: bytes = b""
    shape: Shape = (0, 0, 0)
    pixels: UInt8[np.ndarray, "channel height width"] | None = None
    encoded: bytes | None = None
    peak: int = -1
    is_transparent: bool = False


class Parcel(NamedTuple):
    """Outcomes by columns: pickling an array for each small image would take as long as decoding it.

    Attributes:
        rows: everything but pixels.
        shapes: of the pixels; None where a file comes without.
        pixels: of all files one after the other.
    """

    rows: list[tuple[str, str | None, bytes, Shape, bytes | None, int, bool]]
    shapes: list[Shape | None]
    pixels: UInt8[np.ndarray, " byte"]


def pack(files: list[DecodedFile]) -> Parcel:
    """Prepare outcomes for pickling."""
    arrays = [file.pixels for file in files]
    pixels = np.empty(sum(array.nbytes for array in arrays if array is not None), np.uint8)
    start = 0
    for array in arrays:
        if array is not None:
            pixels[start : start + array.nbytes].reshape(array.shape)[...] = array
            start += array.nbytes
    shapes = [None if array is None else _shape(array) for array in arrays]
    rows = [
        (file.name, file.reason, file.hash, file.shape, file.encoded, file.peak, file.is_transparent) for file in files
    ]
    return Parcel(rows, shapes, pixels)


def unpack(parcel: Parcel) -> list[DecodedFile]:
    """Return the outcomes; their pixels are views of the parcel."""
    outcomes: list[DecodedFile] = []
    start = 0
    for row, size in zip(parcel.rows, parcel.shapes, strict=True):
        name, reason, content, shape, encoded, peak, is_transparent = row
        pixels = None
        if size is not None:
            stop = start + size[0] * size[1] * size[2]
            pixels = parcel.pixels[start:stop].reshape(size)
            start = stop
        outcomes.append(DecodedFile(name, reason, content, shape, pixels, encoded, peak, is_transparent))
    return outcomes


def _shape(array: np.ndarray) -> Shape:
    n_channels, height, width = array.shape
    return n_channels, height, width
