"""Whether a person's images are to be read in colour or in grey, and how many of them decided it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from pipeline.onboarding.sample import Sample

_GREY_TOLERANCE = 2  # of 255, between the channels of a pixel: compression leaves as much
_COLOURED_PIXELS = 0.001  # of an image, or of a collection, above which it is said to have colour


@dataclass(frozen=True)
class Colours:
    """How to read images.

    Attributes:
        channels: for ``preprocess.channels``.
        why: for the remark beside it.
        note: where images are read otherwise than they are, how many decided it; None where all are alike.
    """

    channels: Literal["source", "grey", "rgb"]
    why: str
    note: str | None = None


def choose_colours(sample: Sample, pixels: UInt8[np.ndarray, "image channel height width"]) -> Colours:
    """Return how to read the images.

    Args:
        sample: of the images.
        pixels: of some, in colour where any is stored so.
    """
    counts = {shape[0] for shape in sample.shapes}
    if not counts <= {1, 3}:
        return Colours("source", f"{', '.join(map(str, sorted(counts)))} channels as they are")
    if counts == {1}:
        return Colours("grey", f"{sample.every} are grey")
    is_coloured = pixels.max(axis=1).astype(int) - pixels.min(axis=1) > _GREY_TOLERANCE
    n, n_coloured = len(pixels), int((is_coloured.mean(axis=(1, 2)) > _COLOURED_PIXELS).sum())
    found = f"{n_coloured:,} of {n:,} images {'has' if n_coloured == 1 else 'have'} colour"
    if is_coloured.mean() < _COLOURED_PIXELS:
        if not n_coloured:
            return Colours("grey", f"stored in colour, but {sample.every} are grey")
        note = f"{found}, too little to read all so: all are read as grey; preprocess.channels: rgb keeps the colour"
        return Colours("grey", f"{found}, the others are grey", note)
    if n_coloured == n:
        return Colours("rgb", f"{sample.every} are stored in colour")
    note = f"{found}, the others are grey: all are read as colour; preprocess.channels: grey reads all as grey"
    return Colours("rgb", f"{found}, the others are grey", note)
