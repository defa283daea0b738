"""From 16-bit values to the 8 bits that everything after decoding works on.

The content of an image, and so its id, is what comes out here. So images of few bits in 16 that differ have different
ids, though by the full range they may be equally black.
"""

from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image

_MOST = 2**16 - 1


def has_16_bits(values: np.ndarray) -> bool:
    """Tell whether values are unsigned ones of 16 bits, in any order of bytes."""
    return values.dtype.kind == "u" and values.dtype.itemsize == 2


def eight_bits(values: Shaped[np.ndarray, "..."], brightest: int | None) -> UInt8[np.ndarray, "..."]:
    """Scale 16-bit values, ``brightest`` (None: 65535) and all above it to 255, and round them."""
    most = _MOST if brightest is None else brightest
    return ((np.minimum(values, most).astype(np.uint32) * 255 + most // 2) // most).astype(np.uint8)


def states_range(image: Image.Image) -> bool:
    """Tell whether a PGM of more than 8 bits states another largest value than 65535, by which Pillow will scale it.

    Pillow forgets it when it loads: of a picture that somebody has loaded it is not known.
    """
    tiles: Any = getattr(image, "tile", None)
    if not tiles:
        return False
    how = tiles[0].args  # for values that fill 16 bits and need no scaling, a text
    return not isinstance(how, str) and how[1] != _MOST
