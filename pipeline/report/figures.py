"""Pictures of the paper's kind as PNG files: examples (Fig. 4), swaps (Fig. 5), generated samples (Fig. 6)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from pipeline.storage import atomic_file

Grid = UInt8[np.ndarray, "row column channel height width"]
Mosaic = UInt8[np.ndarray, "_ _ 3"]

_GAP = 2
_SMALLEST_CELL = 28
_WHITE = 255


def write_figures(pictures: Mapping[str, UInt8[np.ndarray, "..."]], folder: Path, prefix: str) -> list[Path]:
    """Write every picture of an experiment's paper results.

    Args:
        pictures: ``examples_facet_j`` and ``samples_facet_j`` (cluster, image, channel, height, width), ``swap_images``
            (image, channel, height, width) and ``swaps_facet_j`` (image that keeps, image that gives, …).
        folder: where the files go.
        prefix: start of the files' names, e.g. the experiment.

    Returns:
        The files, in order.

    Raises:
        ResourceError: the folder cannot be written.
    """
    written = []
    for name, found in sorted(pictures.items()):
        if name == "swap_images":
            continue
        grid = with_originals(found, pictures["swap_images"]) if name.startswith("swaps_") else found
        path = folder / f"{prefix}_{name}.png"
        write_png(path, mosaic(grid))
        written.append(path)
    return written


def mosaic(grid: Grid, gap: int = _GAP) -> Mosaic:
    """Return pictures side by side on white; small ones are enlarged by a whole factor.

    Args:
        grid: rows of pictures of one size; one channel is grey, three are RGB.
        gap: white pixels between pictures, before enlarging.
    """
    rows, columns, channels, height, width = grid.shape
    shown = grid[:, :, :3] if channels >= 3 else np.repeat(grid[:, :, :1], 3, axis=2)
    canvas = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), _WHITE, np.uint8)
    for row in range(rows):
        for column in range(columns):
            top, left = gap + row * (height + gap), gap + column * (width + gap)
            canvas[top : top + height, left : left + width] = shown[row, column].transpose(1, 2, 0)
    factor = -(-_SMALLEST_CELL // max(height, width))
    return canvas.repeat(factor, axis=0).repeat(factor, axis=1)


def with_originals(
    swaps: Grid, originals: UInt8[np.ndarray, "row channel height width"]
) -> UInt8[np.ndarray, "_ _ channel height width"]:
    """Return a table of swaps with its images as first column and first row; the corner is white."""
    corner = np.full_like(originals[:1], _WHITE)
    head = np.concatenate([corner, originals])[None]
    return np.concatenate([head, np.concatenate([originals[:, None], swaps], axis=1)])


def write_png(path: Path, picture: Mosaic) -> None:
    """Write a picture atomically."""
    with atomic_file(path) as temporary:
        Image.fromarray(picture).save(temporary, "PNG")
