"""Sprites: thousands of small pictures in a few image files."""

import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from pipeline.core.storage import atomic_file

GUTTER = 1
"""Pixels around a cell that repeat its edge, so that a browser that scales a cell does not see its neighbours."""

LOSSLESS = 100

_QUALITIES = (LOSSLESS, 90, 75, 60, 45)
_FILE_PIXELS = 2**22
_MAX_COLUMNS = 64

Pictures = UInt8[np.ndarray, "picture channel height width"]
Cells = UInt8[np.ndarray, "picture height width 3"]
Mosaic = UInt8[np.ndarray, "_ _ 3"]


@dataclass(frozen=True)
class Sheet:
    """Where the pictures of one sprite lie.

    Attributes:
        files: names of the image files, in order.
        count: pictures in all.
        height: of a picture in pixels.
        width: of a picture in pixels.
        columns: pictures side by side in a file.
        rows: pictures on top of each other in a file; the last file may have fewer.
        gutter: repeated pixels around every picture.
        quality: of the WebP files; 100 is lossless.
    """

    files: tuple[str, ...]
    count: int
    height: int
    width: int
    columns: int
    rows: int
    gutter: int
    quality: int

    def to_json(self) -> dict[str, Any]:
        """Return the record as a JSON value."""
        return asdict(self) | {"files": list(self.files)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Sheet":
        """Return the record of a JSON value."""
        known: Any = value | {"files": tuple(value["files"])}
        return cls(**known)

    def cell_corner(self, index: int) -> tuple[int, int, int]:
        """Return the file's number and the top left corner, gutter included, of one picture."""
        file, within = divmod(index, self.columns * self.rows)
        row, column = divmod(within, self.columns)
        return file, row * (self.height + 2 * self.gutter), column * (self.width + 2 * self.gutter)


def thumbnails(images: Pictures, longer_side: int) -> UInt8[np.ndarray, "picture channel _ _"]:
    """Return images reduced so that their longer side has at most so many pixels; smaller ones stay as they are."""
    height, width = images.shape[2:]
    factor = longer_side / max(height, width)
    if factor >= 1:
        return images
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small = [np.asarray(Image.fromarray(cell).resize(size, Image.Resampling.LANCZOS)) for cell in _as_rgb(images)]
    stacked = np.stack(small) if small else np.empty((0, size[1], size[0], 3), np.uint8)
    return np.ascontiguousarray(stacked.transpose(0, 3, 1, 2)[:, : images.shape[1]])


def write_sheet(folder: Path, name: str, pictures: Pictures, budget: int) -> Sheet:
    """Write pictures as ``<name>-<n>.webp``, as good as fits into a budget.

    Args:
        folder: where the files go.
        name: of the sprite.
        pictures: of one size; one channel is grey, three are RGB.
        budget: bytes that all files together should not exceed; the lowest quality is kept where none fits.
    """
    cells = _as_rgb(pictures)
    height, width = cells.shape[1:3]
    columns = max(1, min(_MAX_COLUMNS, len(cells)))
    pixels_a_row = columns * (height + 2 * GUTTER) * (width + 2 * GUTTER)
    rows = max(1, _FILE_PIXELS // pixels_a_row)
    step = columns * rows
    mosaics = [_mosaic(cells[start : start + step], columns) for start in range(0, len(cells), step)]
    files = tuple(f"{name}-{number}.webp" for number in range(len(mosaics)))
    quality, encoded = _encode_within(mosaics, budget)
    for file, data in zip(files, encoded, strict=True):
        with atomic_file(folder / file) as temporary:
            temporary.write_bytes(data)
    return Sheet(files, len(cells), height, width, columns, rows, GUTTER, quality)


def read_sheet(folder: Path, sheet: Sheet) -> Cells:
    """Return the pictures of a sprite as RGB."""
    cells = np.empty((sheet.count, sheet.height, sheet.width, 3), np.uint8)
    mosaics = [_decode(folder / file) for file in sheet.files]
    for index in range(sheet.count):
        file, top, left = sheet.cell_corner(index)
        top, left = top + sheet.gutter, left + sheet.gutter
        cells[index] = mosaics[file][top : top + sheet.height, left : left + sheet.width]
    return cells


def blank_cells(folder: Path, sheet: Sheet, indices: Iterable[int]) -> None:
    """Paint pictures of a sprite black, gutters included, and write the files that held them again."""
    by_file: dict[int, list[tuple[int, int]]] = {}
    for index in indices:
        file, top, left = sheet.cell_corner(index)
        by_file.setdefault(file, []).append((top, left))
    height, width = sheet.height + 2 * sheet.gutter, sheet.width + 2 * sheet.gutter
    for file, places in by_file.items():
        path = folder / sheet.files[file]
        mosaic = _decode(path).copy()
        for top, left in places:
            mosaic[top : top + height, left : left + width] = 0
        data = _encode(mosaic, sheet.quality)
        with atomic_file(path) as temporary:
            temporary.write_bytes(data)


def _as_rgb(pictures: Pictures) -> Cells:
    channels = pictures[:, :3] if pictures.shape[1] >= 3 else pictures[:, :1]
    return np.ascontiguousarray(np.broadcast_to(channels.transpose(0, 2, 3, 1), (*_cell_shape(pictures), 3)))


def _cell_shape(pictures: Pictures) -> tuple[int, int, int]:
    return len(pictures), pictures.shape[2], pictures.shape[3]


def _mosaic(cells: Cells, columns: int) -> Mosaic:
    padded = np.pad(cells, ((0, 0), (GUTTER, GUTTER), (GUTTER, GUTTER), (0, 0)), mode="edge")
    rows = -(-len(cells) // columns)
    _, height, width, _ = padded.shape
    grid = np.zeros((rows * columns, height, width, 3), np.uint8)
    grid[: len(cells)] = padded
    split = grid.reshape(rows, columns, height, width, 3)  # row column height width 3
    return split.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, 3)


def _encode_within(mosaics: list[Mosaic], budget: int) -> tuple[int, list[bytes]]:
    encoded: list[bytes] = []
    for quality in _QUALITIES:
        encoded = [_encode(mosaic, quality) for mosaic in mosaics]
        if sum(map(len, encoded)) <= budget:
            return quality, encoded
    return _QUALITIES[-1], encoded


def _encode(mosaic: Mosaic, quality: int) -> bytes:
    buffer = io.BytesIO()
    lossless = quality == LOSSLESS
    # For lossless files Pillow reads `quality` as effort.
    Image.fromarray(mosaic).save(buffer, "WEBP", lossless=lossless, quality=70 if lossless else quality, method=4)
    return buffer.getvalue()


def _decode(path: Path) -> Mosaic:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
