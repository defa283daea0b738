"""How to treat a person's images before training: size, shape, colours and labels, each with a reason."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.core.text import to_json
from pipeline.datasets.decoding.transform import ImageTransform
from pipeline.datasets.files.location import is_url, settled, storable
from pipeline.datasets.readers.own_labels import FoundLabels
from pipeline.onboarding.colours import choose_colours
from pipeline.onboarding.sample import Sample
from pipeline.onboarding.variety import require_variety

Choice = tuple[str, str]
"""A value as YAML, and why."""

Pixels = UInt8[np.ndarray, "image channel height width"]

_LONGEST_GREY, _LONGEST_COLOUR = 48, 32
"""Pixels of the longer side at model size: a step takes as long as there are numbers in an image."""


@dataclass(frozen=True)
class Preparation:
    """How images are prepared.

    Attributes:
        section: what images decide of ``preprocess``.
        pixels: of some images as it makes them.
        notes: what a person should know of it, one sentence each.
    """

    section: dict[str, Choice]
    pixels: Pixels
    notes: list[str]


def choose_preprocess(layout: Layout, sample: Sample, max_pixels: int, location: str) -> Preparation:
    """Return what images decide of the section ``preprocess``.

    Args:
        layout: of the new experiment.
        sample: of the images.
        max_pixels: larger images are set aside.
        location: folder or file of images, as it was given.

    Raises:
        DataError: nearly all images are the same, or the path cannot be written.
    """
    size, why_size = _choose_size(sample)
    fit, why_fit = _choose_fit(sample, size)
    pixels = sample.pixels(ImageTransform(size, fit, _all_channels(sample)), max_pixels)
    colours = choose_colours(sample, pixels)
    pixels = ImageTransform(None, "stretch", colours.channels).apply(pixels)
    require_variety(pixels, "image", location)
    path = written_path(layout, location)
    section: dict[str, Choice] = {
        "source": (sample.source, f"{sample.n_images - sample.n_masks:,} images; {sample.n_seen:,} were looked at"),
        "path": (to_json(path), "a path below the repository, an absolute one, or a URL"),
        "labels": (sample.labels.value or "null", why_labels(sample.labels)),
        "exclude": _choose_exclude(sample),
        "size": (f"[{size[0]}, {size[1]}]", why_size),
        "fit": (fit, why_fit),
        "channels": (colours.channels, colours.why),
        "brightest": _choose_brightest(sample),
    }
    return Preparation(section, pixels, [] if colours.note is None else [colours.note])


def _choose_size(sample: Sample) -> tuple[tuple[int, int], str]:
    sizes = np.array([shape[1:] for shape in sample.shapes.elements()])
    height, width = (int(side) for side in np.median(sizes, axis=0))
    n_sizes = len({shape[1:] for shape in sample.shapes})
    longest = max(height, width)
    most = _LONGEST_GREY if {shape[0] for shape in sample.shapes} == {1} else _LONGEST_COLOUR
    if n_sizes > 1:
        scale = min(1.0, most / longest)
        size = max(4, round(height * scale / 4) * 4), max(4, round(width * scale / 4) * 4)
        return size, f"{n_sizes} sizes, in the middle {height}×{width}; larger images take longer to train"
    if longest <= most:
        return (height, width), "the size of all images" if sample.every == "all" else f"the size of {sample.every}"
    k = -(-longest // most)
    while k < longest and (height % k or width % k):
        k += 1
    if longest // k >= most // 2:
        return (height // k, width // k), f"{sample.every} are {height}×{width}; {k}×{k} pixels become one"
    scale = most / longest
    size = max(1, round(height * scale)), max(1, round(width * scale))
    return size, f"{sample.every} are {height}×{width}; larger images take longer to train"


def _choose_fit(sample: Sample, size: tuple[int, int]) -> tuple[Literal["stretch", "crop"], str]:
    wanted = math.log(size[0] / size[1])
    ratios = [math.log(shape[1] / shape[2]) for shape in sample.shapes.elements()]
    differ = sum(abs(ratio - wanted) > 0.1 for ratio in ratios)
    if differ:
        return "crop", f"{differ} of {len(ratios)} have another aspect ratio; their centre is kept"
    return "stretch", f"{sample.every} have nearly this aspect ratio"


def _all_channels(sample: Sample) -> Literal["source", "rgb"]:
    return "rgb" if {shape[0] for shape in sample.shapes} <= {1, 3} else "source"


def _choose_brightest(sample: Sample) -> Choice:
    if sample.peak is None:
        return "null", "of 16-bit images only"
    seen = f"16-bit images, the largest value seen is {sample.peak:,}"
    if sample.brightest is None:
        return "null", f"{seen}, so their full range is in use"
    n_bits = sample.brightest.bit_length()
    return str(sample.brightest), f"{seen}, so {n_bits} bits are in use; larger ones are clipped"


def _choose_exclude(sample: Sample) -> Choice:
    if sample.exclude is None:
        return "null", "nothing but what cannot be used"
    return to_json(sample.exclude), f"{sample.n_masks:,} two-valued images that are called masks, one to an image"


def why_labels(labels: FoundLabels) -> str:
    """Return why labels are proposed, or none."""
    if labels.value:
        return "only scoring sees labels"
    return "what was found cannot be used as labels" if labels.remarks else "none were found"


def written_path(layout: Layout, location: str) -> str:
    """Return ``preprocess.path``: below the repository where it can be, absolute otherwise, or a URL.

    Raises:
        DataError: the path cannot be written.
    """
    if is_url(location):
        path = location
    else:
        found, root = Path(settled(layout, location)), layout.root.resolve()
        path = found.relative_to(root).as_posix() if found.is_relative_to(root) else found.as_posix()
    if storable(path) != path:
        raise DataError(f"params.yaml can name only paths that are UTF-8, got {path}; rename the folder")
    return path
