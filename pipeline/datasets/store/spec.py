"""The words of the store: splits, blocks of images, and the shape of one."""

from typing import Literal

import numpy as np
from jaxtyping import UInt8

Split = Literal["train", "test"]

Shape = tuple[int, int, int]
"""Channel, height and width."""

ImageBlock = UInt8[np.ndarray, "image channel height width"]
Transformed = UInt8[np.ndarray, "image new_channel new_height new_width"]


def describe_shape(shape: Shape) -> str:
    """Return a shape as people write it, e.g. ``64×48 with 3 channels``."""
    channels = "1 channel" if shape[0] == 1 else f"{shape[0]} channels"
    return f"{shape[1]}×{shape[2]} with {channels}"
