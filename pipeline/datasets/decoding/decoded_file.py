"""The outcome of decoding one file, and how outcomes travel from one process to another."""

from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from pipeline.datasets.store.spec import Shape


class DecodedFile(NamedTuple):
    """One file's outcome: a reason why it was refused, or the rest."""

    name: str
    reason: str | None
    hash: bytes = b""
    shape: Shape = (0, 0, 0)  # channel, height, width at the source
    pixels: UInt8[np.ndarray, "channel height width"] | None = None
    encoded: bytes | None = None


class Parcel(NamedTuple):
    """Outcomes by columns: pickling an array for each small image would take as long as decoding it.

    Attributes:
        rows: everything but pixels.
        shapes: of the pixels; None where a file comes without.
        pixels: of all files one after the other.
    """

    rows: list[tuple[str, str | None, bytes, Shape, bytes | None]]
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
    rows = [(file.name, file.reason, file.hash, file.shape, file.encoded) for file in files]
    return Parcel(rows, shapes, pixels)


def unpack(parcel: Parcel) -> list[DecodedFile]:
    """Return the outcomes; their pixels are views of the parcel."""
    outcomes: list[DecodedFile] = []
    start = 0
    for (name, reason, content, shape, encoded), size in zip(parcel.rows, parcel.shapes, strict=True):
        pixels = None
        if size is not None:
            stop = start + size[0] * size[1] * size[2]
            pixels = parcel.pixels[start:stop].reshape(size)
            start = stop
        outcomes.append(DecodedFile(name, reason, content, shape, pixels, encoded))
    return outcomes


def _shape(array: np.ndarray) -> Shape:
    n_channels, height, width = array.shape
    return n_channels, height, width
