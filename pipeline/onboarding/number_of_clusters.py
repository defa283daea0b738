"""How many clusters each facet of a ladder over directions has, chosen without labels.

A number of clusters is right if what it finds does not depend on which rows were looked at: k-means on either half of
the rows agrees on where all of them belong (Lange et al., 2004). Facets are judged together, as the clusters of the
deeper one decide what is left for the other: where it has too few, its own property comes back in the next facet, and
where it has too many, it takes two properties at once and leaves nothing that is stable.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from pipeline.core.contingency import adjusted_rand, contingency
from pipeline.mixture.directions import Remainder, main_directions
from pipeline.mixture.fit import k_means
from pipeline.model.residual_directions import MAIN

CANDIDATES = (4, 6, 8, 10, 15, 20)

_N_STARTS, _N_STARTS_OF_HALVES = 20, 5
_N_DIVISIONS = 20


@dataclass(frozen=True)
class ClusterNumbers:
    """Numbers of clusters, and how stable they are.

    Attributes:
        n_components: of each facet, shallowest first.
        stability: of each facet: adjusted Rand index of the clusters found in two halves of the rows, mean over
            divisions (1 is the same clusters, 0 is chance).
        max_share: part of the rows in the largest cluster of either facet.
    """

    n_components: tuple[int, int]
    stability: tuple[float, float]
    max_share: float

    @property
    def score(self) -> float:
        """What is to be large: both facets are to be stable."""
        return self.stability[0] * self.stability[1]


def compare_numbers(
    rows: Float[Tensor, "row number"], n_read: int, random_state: int, fewest_per_cluster: int
) -> Iterator[ClusterNumbers]:
    """Yield every pair of :data:`CANDIDATES` for two facets, as each is judged.

    Args:
        rows: some thousand at most, as floats.
        n_read: directions that a facet reads.
        random_state: of divisions and starts.
        fewest_per_cluster: rows that a cluster should have on average; of candidates with fewer, the smallest stays.
    """
    candidates = candidates_of(len(rows), fewest_per_cluster)
    yield from judge_numbers(in_main_directions(rows), candidates, candidates, n_read, random_state)


def judge_numbers(
    rows: Float[Tensor, "row direction"],
    shallow_numbers: Sequence[int],
    deep_numbers: Sequence[int],
    n_read: int,
    random_state: int,
) -> Iterator[ClusterNumbers]:
    """Yield every pair of some numbers for two facets, as each is judged.

    Args:
        rows: in their main directions.
        shallow_numbers: of facet 0.
        deep_numbers: of facet 1.
        n_read: directions that a facet reads.
        random_state: of divisions and starts.
    """
    whole = Remainder.of_all(rows)
    read_deep = _read(whole, n_read)
    for n_deep in deep_numbers:
        deep, deep_stability = _judge(read_deep, n_deep, random_state)
        read_shallow = _read(whole.without(deep), n_read)
        for n_shallow in shallow_numbers:
            shallow, stability = _judge(read_shallow, n_shallow, random_state)
            share = max(_largest_share(deep), _largest_share(shallow))
            yield ClusterNumbers((n_shallow, n_deep), (stability, deep_stability), share)


def in_main_directions(rows: Float[Tensor, "row number"]) -> Float[Tensor, "row direction"]:
    """Return centred rows by the directions in which they differ most, in double precision."""
    rows = rows.double()
    offset, main = main_directions(rows, MAIN)
    return (rows - offset) @ main


def candidates_of(n_rows: int, fewest_per_cluster: int) -> tuple[int, ...]:
    """Return the numbers of clusters that so many rows allow; at least the smallest."""
    return tuple(n for n in CANDIDATES if n == CANDIDATES[0] or n * fewest_per_cluster <= n_rows)


def best_numbers(compared: list[ClusterNumbers], max_share: float) -> ClusterNumbers:
    """Return the most stable numbers without a cluster of more than ``max_share`` of the rows, if any are without."""
    return max(compared, key=lambda one: (one.max_share <= max_share, one.score))


def _read(left: Remainder, n_read: int) -> Float[np.ndarray, "row direction"]:
    return (left.rows @ left.directions(n_read)).numpy()


def _judge(
    read: Float[np.ndarray, "row direction"], n_clusters: int, random_state: int
) -> tuple[Int64[Tensor, " row"], float]:
    """Return clusters and their stability."""
    generator = np.random.RandomState(random_state)
    clusters = torch.from_numpy(k_means(read, n_clusters, generator, _N_STARTS)).long()
    agreed = [_agreement(read, n_clusters, generator) for _ in range(_N_DIVISIONS)]
    return clusters, float(np.mean(agreed))


def _agreement(read: Float[np.ndarray, "row direction"], n_clusters: int, generator: np.random.RandomState) -> float:
    """Return how far the clusters of two random halves agree on all rows."""
    order, middle = generator.permutation(len(read)), len(read) // 2
    first, second = (_placed(read, read[half], n_clusters, generator) for half in (order[:middle], order[middle:]))
    return adjusted_rand(contingency(first, second, n_clusters, n_clusters))


def _placed(
    read: Float[np.ndarray, "row direction"],
    half: Float[np.ndarray, "some direction"],
    n_clusters: int,
    generator: np.random.RandomState,
) -> Int[np.ndarray, " row"]:
    """Return the cluster of every row, by the nearest of the centres found in a half of them."""
    found = k_means(half, n_clusters, generator, _N_STARTS_OF_HALVES)
    centres = np.stack([half[found == c].mean(0) for c in np.unique(found)])
    nearest = torch.cdist(torch.from_numpy(read), torch.from_numpy(centres)).argmin(1)
    return cast(np.ndarray, nearest.numpy())


def _largest_share(clusters: Int64[Tensor, " row"]) -> float:
    return float(clusters.bincount().max() / len(clusters))
