"""Pictures of 3DShapes-like scenes for any of the 480,000 factor combinations."""

import colorsys
from functools import lru_cache

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from pipeline.datasets.readers.scenes.geometry import FLOOR, OBJECT, SAMPLES, SIZE, SKY, WALL, cast_scene

_SKY_COLOUR = np.array([153, 226, 249], np.float32)
_GLOSS = 0.122 * 255
_LEVELS = np.arange(0, 256, 51, dtype=np.float32)
"""All values that a channel of the ten hues takes."""

_HUES = np.array([colorsys.hsv_to_rgb(hue / 10, 1, 1) for hue in range(10)])
_LEVEL_OF_HUE = np.rint(_HUES * 255 / 51).astype(np.int64)  # hue × channel


def render_scenes(factors: Int64[np.ndarray, "image 6"]) -> UInt8[np.ndarray, "image 64 64 3"]:
    """Render one picture for each row of factor indices (see :mod:`pipeline.datasets.readers.factors`).

    The geometry of a scale, shape and orientation is cast once a process and kept; colours are only sums.
    """
    images = np.empty((len(factors), SIZE, SIZE, 3), np.uint8)
    geometries, group = np.unique(factors[:, 3:], axis=0, return_inverse=True)
    for index, (scale, shape, orientation) in enumerate(geometries.tolist()):
        rows = np.flatnonzero(group == index)
        sky, surfaces = layers(scale, shape, orientation)
        floor, wall, solid = (_LEVEL_OF_HUE[factors[rows, column]] for column in range(3))
        colours = surfaces[0][floor] + surfaces[1][wall] + surfaces[2][solid]  # image × channel × row × column
        colours += sky * _SKY_COLOUR[:, None, None]
        images[rows] = np.rint(colours.clip(0, 255)).astype(np.uint8).transpose(0, 2, 3, 1)
    return images


@lru_cache(maxsize=480)
def layers(
    scale: int, shape: int, orientation: int
) -> tuple[Float32[np.ndarray, "64 64"], Float32[np.ndarray, "3 6 64 64"]]:
    """Return what each surface adds to one channel of a picture, antialiased.

    Reducing the samples is linear, so a picture is a sum: the sky, and for floor, walls and object a layer that depends
    on the channel's level (0, 51, …, 255) alone. All ten hues are made of these six levels.

    Returns:
        Share of the sky in each pixel, and the layers of floor, walls and object for each level.
    """
    samples = cast_scene(scale, shape, orientation)
    lit = np.minimum(_LEVELS[:, None] * samples.gain + np.float32(_GLOSS) * samples.highlight, 255)
    stack = np.stack([lit * (samples.surface == surface) for surface in (FLOOR, WALL, OBJECT)])
    return _reduce((samples.surface == SKY).astype(np.float32)), _reduce(stack)


def _reduce(samples: Float32[np.ndarray, "... ray"]) -> Float32[np.ndarray, "... 64 64"]:
    grid = samples.reshape(*samples.shape[:-1], SIZE * SAMPLES, SIZE * SAMPLES)
    kernel = _lanczos()
    return kernel @ grid @ kernel.T


@lru_cache(maxsize=1)
def _lanczos() -> Float32[np.ndarray, "64 _"]:
    """Return the Lanczos-3 weights from samples to pixels; rows sum to 1, at the picture's edge too."""
    pixel = np.arange(SIZE) + 0.5
    sample = (np.arange(SIZE * SAMPLES) + 0.5) / SAMPLES
    offset = sample - pixel[:, None]
    weight = np.where(np.abs(offset) < 3, np.sinc(offset) * np.sinc(offset / 3), 0)
    return (weight / weight.sum(axis=1, keepdims=True)).astype(np.float32)
