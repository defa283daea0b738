"""The tree of a facet's components: at every step the two groups join that others tell apart least."""

import numpy as np

from pipeline.core.groups import MergeTree
from pipeline.groups.confirmed import Overlap, confirmed_share
from pipeline.groups.hinted import CannotLink


def merge_components(overlap: Overlap, cannot_link: CannotLink | None = None) -> MergeTree:
    """Join components, two groups a step, until one is left (agglomeration by information; Slonim and Tishby, 1999).

    A component without mass, which nothing tells from any other, joins the largest. Shares that fall from one step to
    the next are raised to the largest so far: a cut at a share is then a cut at a number.

    Args:
        overlap: of the components with those of other clusterings (see :func:`pipeline.groups.confirmed.overlap`).
        cannot_link: pairs of components that must not share a group: they join last, as if all others told them apart.
    """
    rows = overlap.copy()
    apart = np.zeros((len(rows), len(rows)), bool) if cannot_link is None else cannot_link.copy()
    nodes = list(range(len(rows)))
    shares = np.stack([confirmed_share(row, rows) for row in rows])
    merges: list[tuple[int, int]] = []
    confirmed: list[float] = []
    while len(nodes) > 1:
        first, second = _closest(np.where(apart, np.inf, shares), rows.sum((1, 2)))
        merges.append((nodes[first], nodes[second]))
        share = 1.0 if apart[first, second] else float(shares[first, second])
        confirmed.append(max([share, *confirmed[-1:]]))
        nodes[first] = len(overlap) + len(confirmed) - 1
        del nodes[second]
        rows[first] += rows[second]
        apart[first] |= apart[second]
        apart[:, first] |= apart[:, second]
        rows, shares, apart = np.delete(rows, second, 0), _without(shares, second), _without(apart, second)
        shares[first] = shares[:, first] = confirmed_share(rows[first], rows)
    return MergeTree(tuple(merges), tuple(confirmed))


def _without(pairs: np.ndarray, node: int) -> np.ndarray:
    return np.delete(np.delete(pairs, node, 0), node, 1)


def _closest(shares: np.ndarray, mass: np.ndarray) -> tuple[int, int]:
    """Return the pair with the smallest share; of equal ones the heaviest."""
    firsts, seconds = np.triu_indices(len(shares), 1)
    best = np.lexsort((-(mass[firsts] + mass[seconds]), shares[firsts, seconds]))[0]
    return int(firsts[best]), int(seconds[best])
