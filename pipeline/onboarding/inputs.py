"""Pixels or features: what of a person's images to cluster.

The rule: features where images are in colour, larger than a model of pixels reads, and various. Its numbers were chosen
on collections of photographs, sketches, faces and spectrograms (docs/photographs.md).
"""

from collections import Counter
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from jaxtyping import UInt8

from pipeline.core.extras import EXTRAS, how_to_install
from pipeline.datasets.store.spec import Shape
from pipeline.onboarding.preprocessing import Choice

_SMALL = 64
"""Pixels of the longer side, up to which a model of pixels sees nearly all there is."""

_SHARE, _FEW = 0.9, 40
"""Of what differs between images, so much in fewer directions than this: they are all of one kind, taken alike."""

_JUDGED = 512  # images
_PER_DIRECTION = 4  # images that a direction takes to show

THUMBNAIL = 64
"""Pixels of a picture that people see of an image, on either side."""


@dataclass(frozen=True)
class InputChoice:
    """What to cluster.

    Attributes:
        are_features: of a pretrained network; else pixels.
        reason: for people, a sentence.
    """

    are_features: bool
    reason: str


def choose_input(shapes: Counter[Shape], pixels: UInt8[np.ndarray, "image channel height width"]) -> InputChoice:
    """Return what to cluster of a person's images.

    Args:
        shapes: of some of them, and how many have each.
        pixels: some hundred at the size of a model of pixels.
    """
    longest = int(np.median([max(shape[1:]) for shape in shapes.elements()]))
    if pixels.shape[1] == 1:
        return InputChoice(False, "pixels, as networks trained on photographs have seen little in grey")
    if pixels.shape[1] != 3:
        return InputChoice(False, f"pixels, as networks trained on photographs take no {pixels.shape[1]} channels")
    if longest <= _SMALL:
        return InputChoice(False, f"pixels, as {longest} of them on the longer side are few enough to read")
    n_directions = count_directions(pixels)
    if n_directions < min(_FEW, len(pixels) // _PER_DIRECTION):
        return InputChoice(
            False, f"pixels, as {n_directions} directions hold {_SHARE:.0%} of what differs: they are taken alike"
        )
    found = f"in colour, {longest} pixels on the longer side, various ({n_directions} directions for {_SHARE:.0%})"
    if any(find_spec(module) is None for module in EXTRAS["features"]):
        advice = f"features of a pretrained network would tell them apart better: {how_to_install('features')}"
        return InputChoice(False, f"pixels, though images are {found}; {advice}")
    return InputChoice(True, f"features of a pretrained network, as images are {found}")


def count_directions(pixels: UInt8[np.ndarray, "image channel height width"]) -> int:
    """Return how many principal components it takes to explain 90 % of the variance of some hundred images' pixels."""
    some = pixels[:: -(-len(pixels) // _JUDGED)]
    flat = some.reshape(len(some), -1).astype(np.float64)
    variance = np.linalg.svd(flat - flat.mean(axis=0), compute_uv=False) ** 2
    return int(np.searchsorted(np.cumsum(variance), _SHARE * variance.sum())) + 1


def as_features(preprocess: dict[str, Choice], shapes: Counter[Shape], reason: str) -> dict[str, Choice]:
    """Return a proposed section ``preprocess`` changed to features.

    Args:
        preprocess: as proposed for pixels.
        shapes: of some of the images.
        reason: for features.
    """
    ratios = [shape[1] / shape[2] for shape in shapes.elements()]
    is_square = all(abs(np.log(ratio)) <= 0.1 for ratio in ratios)
    return {
        **preprocess,
        "features": ("{backbone: efficientnet_lite0, weights: null, batch_size: 32}", reason),
        "size": (f"[{THUMBNAIL}, {THUMBNAIL}]", "of the pictures that people see; the network sees larger ones"),
        "fit": ("stretch", "nearly square") if is_square else ("crop", "the network sees squares; the centre is kept"),
        "channels": ("rgb", "as the network takes them"),
    }
