"""Hints as a user gives them, checked: labels and pairs of images, by facet."""

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from jaxtyping import Int64

from pipeline.core.hints import HintPair, Hints, collect_hints


def read_hints(
    labels: Mapping[Any, Any], pairs: Mapping[Any, Any], n_images: int, n_components: Sequence[int]
) -> Hints | None:
    """Return what a user has said about some of the images, ``None`` where that is nothing.

    Args:
        labels: by facet, a label of every image, -1 where it is unknown.
        pairs: by facet, the numbers of two images, and whether they are the same.
        n_images: that are trained on.
        n_components: of every facet.

    Raises:
        ValueError: a facet does not exist or has one component only, labels or pairs have the wrong form, a class has
            one image or is alone, or hints contradict each other.
    """
    for name, given in (("hints", labels), ("pairs", pairs)):
        if not isinstance(given, Mapping):
            raise ValueError(f"{name} must be a dictionary with a facet for each key, got {type(given).__name__}")
    for facet in [*labels, *pairs]:
        _check_facet(facet, n_components)
    table = np.full((n_images, len(n_components)), -1)
    for facet, of_images in labels.items():
        table[:, facet] = _checked_labels(of_images, facet, n_images)
    listed = [_checked_pair(pair, facet, n_images) for facet, of_facet in pairs.items() for pair in of_facet]
    return collect_hints(table, listed) if labels or listed else None


def _check_facet(facet: Any, n_components: Sequence[int]) -> None:
    if not _is_below(facet, len(n_components)):
        raise ValueError(f"hints must be about a facet, 0 … {len(n_components) - 1}, got {facet!r}")
    if n_components[facet] < 2:
        raise ValueError(f"a facet with hints must have at least two components, got one for facet {facet}")


def _checked_labels(of_images: Any, facet: int, n_images: int) -> Int64[np.ndarray, " image"]:
    array = np.asarray(of_images)
    if array.shape != (n_images,):
        raise ValueError(
            f"the hints of facet {facet} must have one label an image, shape ({n_images},), got {array.shape}; "
            "use -1 where it is unknown"
        )
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(
            f"the hints of facet {facet} must be integers, -1 where the label is unknown, got {array.dtype}; "
            "number the classes"
        )
    if array.min() < -1:
        raise ValueError(f"the hints of facet {facet} must be labels from 0 on, or -1, got {array.min()}")
    names, counts = np.unique(array[array >= 0], return_counts=True)
    if not len(names):
        raise ValueError(f"the hints of facet {facet} must label some images, got -1 for all {n_images}")
    if len(names) < 2:
        raise ValueError(
            f"the hints of facet {facet} must be of at least two classes, got {len(names)}; one class alone does not "
            "tell what makes images different"
        )
    if counts.min() < 2:
        raise ValueError(
            f"the hints of facet {facet} must have at least two images of each class, but class "
            f"{names[counts.argmin()]} has one, which does not tell what makes images the same"
        )
    return array.astype(np.int64)


def _checked_pair(pair: Any, facet: int, n_images: int) -> HintPair:
    try:
        image_a, image_b, is_same = pair
    except (TypeError, ValueError):
        raise ValueError(f"pairs of facet {facet} must be (image, image, same or not), got {pair!r}") from None
    if not all(_is_below(image, n_images) for image in (image_a, image_b)) or image_a == image_b:
        raise ValueError(
            f"pairs of facet {facet} must be of two images, numbers from 0 to {n_images - 1}, got {image_a!r} and "
            f"{image_b!r}"
        )
    if not isinstance(is_same, bool | np.bool_):
        raise ValueError(f"pairs of facet {facet} must say True (the same) or False, got {is_same!r}")
    return HintPair(int(image_a), int(image_b), int(facet), bool(is_same))


def _is_below(value: Any, n: int) -> bool:
    return isinstance(value, Integral) and 0 <= int(value) < n
