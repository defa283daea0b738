"""Which clusters hold another part of the images that came later than of those that the model knows."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from pipeline.monitoring.drift import MIN_EXPECTED, occupancy_p_value
from pipeline.page.rows import BatchRow

_FALSE_ALARM_RATE = 0.05
"""How often a cluster of a facet may be marked although both sets of images are of one kind."""

KNOWN = ("source", "joined")
"""Status of the batches that the model was trained or tested on."""

Shifted = list[list[int]]


def shifted_clusters(batches: Sequence[BatchRow], later: Sequence[BatchRow]) -> Shifted | None:
    """Return for every facet the components whose part of some batches differs from the known one beyond chance.

    Pearson's test on every component alone, corrected for their number (Bonferroni). It tells nothing where fewer than
    five images are to be expected inside or outside a component.

    Args:
        batches: all of them, from which those that the model knows are taken.
        later: the batches to compare, as one set; those among them that the model knows are compared with the others.

    Returns:
        None where one of the two sets is empty, or its clusters are not known.
    """
    known = _sizes([batch for batch in batches if batch.status in KNOWN and batch not in later])
    arrived = _sizes(later)
    if known is None or arrived is None:
        return None
    return [_shifted(np.stack(counts)) for counts in zip(known, arrived, strict=True)]


def _sizes(batches: Sequence[BatchRow]) -> list[Int64[np.ndarray, " component"]] | None:
    """Return images by facet and component, summed over batches; None where there are none."""
    sizes = [batch.sizes for batch in batches if batch.sizes is not None]
    summed = [np.array(facet, np.int64).sum(axis=0) for facet in zip(*sizes, strict=True)]
    return summed if summed and summed[0].sum() else None


def _shifted(counts: Int64[np.ndarray, "set component"]) -> list[int]:
    used = np.flatnonzero(counts.sum(axis=0))
    tables = np.stack([counts, counts.sum(axis=1, keepdims=True) - counts], axis=1)  # set in-or-out component
    expected = tables.sum(axis=0) * counts.sum(axis=1).min() / counts.sum()
    told = [int(c) for c in used if expected[:, c].min() >= MIN_EXPECTED]
    return [c for c in told if occupancy_p_value(tables[:, :, c]) <= _FALSE_ALARM_RATE / len(used)]
