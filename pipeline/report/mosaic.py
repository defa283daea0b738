"""Pictures side by side in one array."""

import numpy as np
from jaxtyping import UInt8

Grid = UInt8[np.ndarray, "row column channel height width"]
Mosaic = UInt8[np.ndarray, "_ _ 3"]

_GAP = 2
_SMALLEST_CELL = 28
_WHITE = 255


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
