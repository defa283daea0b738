"""How many facets rows have, chosen without labels, on training rows that nothing was trained on.

Two clusterings are facets if each is kept by walks that change the other (:mod:`pipeline.onboarding.walks`). They are
found by alternation: clusters of some direction, clusters of what walks between those keep, clusters of what walks
between these keep. A third is found where what is kept by one of two has two facets itself. That a product of
properties can be told from the neighbourhoods of its rows alone, without directions, is Zhang, Moscovich and Singer
(2021); walks instead of eigenfunctions, as properties here differ in size and have few values.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int
from torch import Tensor

from pipeline.core.contingency import contingency, entropy, mutual_information
from pipeline.mixture.fit import k_means
from pipeline.onboarding.starts import starts
from pipeline.onboarding.walks import N_WALKS, Walks, principal_components

LEAST_PRESENCE = 0.7
"""Of a facet: correlation of a row with where walks lead that change the other facets."""

_N_MAIN = 64  # directions by which rows are near
_LEAST_DEVIATION = 1e-2  # of a direction, over that of the first, in its scale
_N_CLUSTERS = 10  # in an alternation, before some are joined: steps between few are too large to keep anything
_N_STARTS = 3  # of k-means
_N_KEPT = 10  # directions of what is kept that clusters are made of
_N_WALKS_KEPT, _N_WALKS_BETWEEN = 4, 10  # over which what is kept is averaged, in a search and between two
_FEWEST_CLUSTERS = 3  # of two, any fold of a property is made
_RETAINED = 0.5  # eigenvalue of what clusters pass on to each other, below which they are joined
_MOST_SHARED = 0.1  # mutual information of two facets over the lesser entropy
_LEAST_FOUND_AGAIN = 0.5  # the same of a facet's clusters and those that the other leads back to
_HOPELESS, _ENOUGH = 0.3, 0.95  # presences at which an alternation ends
_LIKE = 0.8  # of what two clusterings share, above which only one is set apart
_MOST_APART = 4
_N_ROUNDS = 3

_Rows = Float32[np.ndarray, "row number"]
_Clusters = Int[np.ndarray, " row"]


@dataclass(frozen=True)
class FacetNumber:
    """A number of facets, and what it was chosen by.

    Attributes:
        n_facets: 1, 2 or 3.
        presence: of the second facet, and of the third; at most 1, about 0 where there is none.
        clusters: of each facet; none where there is one facet.
    """

    n_facets: int
    presence: tuple[float, float]
    clusters: tuple[_Clusters, ...]

    @property
    def note(self) -> str:
        """What a person should know where there are more facets than a proposal has."""
        return (
            "three properties seem to vary independently of each other: walks to neighbours that change the others "
            f"keep each (by {self.presence[0]:.2f} and {self.presence[1]:.2f}; 1 is wholly, 0 not at all). Two facets "
            "are proposed; docs/choosing-j-d-k.md says how to add one"
        )


@dataclass(frozen=True)
class _Pair:
    presence: float
    clusters: tuple[_Clusters, _Clusters]


def number_of_facets(rows: Float32[Tensor, "row number"], random_state: int) -> FacetNumber:
    """Return the number of facets of rows.

    Args:
        rows: some thousand at most; the square of their number is kept in memory.
        random_state: of walks and of k-means.
    """
    generator = np.random.RandomState(random_state)
    search = _Search(_main(rows, generator), generator)
    pairs = search.pairs()
    if not pairs or pairs[0].presence < LEAST_PRESENCE:
        return FacetNumber(1, (pairs[0].presence if pairs else 0.0, 0.0), ())
    second, third = pairs[0].presence, 0.0
    for apart in _distinct(pairs):
        found = _Search(search.without(apart), generator).pairs()
        third = max(third, found[0].presence if found else 0.0)
        if third >= LEAST_PRESENCE:
            return FacetNumber(3, (second, third), (apart, *found[0].clusters))
    return FacetNumber(2, (second, third), pairs[0].clusters)


def _distinct(pairs: list[_Pair]) -> list[_Clusters]:
    """Return clusterings of the pairs with the most presence, none much like one before."""
    found: list[_Clusters] = []
    for pair in pairs:
        if pair.presence >= LEAST_PRESENCE:
            found += [one for one in pair.clusters if all(_shared(one, other) < _LIKE for other in found)]
    return found[:_MOST_APART]


class _Search:
    """For two facets of rows."""

    def __init__(self, rows: _Rows, generator: np.random.RandomState) -> None:
        self._rows = _scaled(principal_components(rows, _N_MAIN))
        self._generator = generator
        square = (self._rows**2).sum(axis=1)
        self._distances = square[:, None] + square - 2 * self._rows @ self._rows.T
        np.fill_diagonal(self._distances, np.inf)

    def pairs(self) -> list[_Pair]:
        """Return two clusterings for each start from which some were found, most present first."""
        found: list[_Pair] = []
        for start in starts(self._rows):
            pairs = list(self._alternate(self._clusters(start, min(_N_CLUSTERS, len(start)))))
            found += [max(pairs, key=lambda pair: pair.presence)] if pairs else []
        return sorted(found, key=lambda pair: -pair.presence)

    def without(self, clusters: _Clusters) -> _Rows:
        """Return what is kept of rows by walks that change clusters."""
        return self._walks(clusters).kept(self._generator, _N_WALKS_BETWEEN)

    def _alternate(self, first: _Clusters) -> Iterator[_Pair]:
        for _ in range(_N_ROUNDS):
            walks = self._walks(first)
            presence = walks.presence(self._generator)
            if presence < _HOPELESS:
                return
            second = self._following(walks)
            if second.max() < _FEWEST_CLUSTERS - 1:
                return
            walks = self._walks(second)
            again = self._following(walks)
            if again.max() < _FEWEST_CLUSTERS - 1:
                return
            if _shared(first, second) < _MOST_SHARED and _shared(first, again) > _LEAST_FOUND_AGAIN:
                pair = _Pair(min(presence, walks.presence(self._generator)), (first, second))
                yield pair
                if pair.presence > _ENOUGH:
                    return
            first = again

    def _walks(self, clusters: _Clusters) -> Walks:
        return Walks.between(self._rows, self._distances, clusters)

    def _clusters(self, rows: np.ndarray, n_clusters: int) -> _Clusters:
        clusters = k_means(rows, n_clusters, self._generator, _N_STARTS)
        return np.unique(clusters, return_inverse=True)[1].astype(np.int64)

    def _following(self, walks: Walks) -> _Clusters:
        """Return clusters of what walks keep, joined where walks do not keep them apart."""
        kept = _scaled(principal_components(walks.kept(self._generator, _N_WALKS_KEPT), _N_KEPT))
        clusters = self._clusters(kept, min(_N_CLUSTERS, len(kept)))
        n_clusters = int(clusters.max()) + 1
        passed = np.zeros((n_clusters, n_clusters))
        for _ in range(N_WALKS):
            ends, able = walks.ends(self._generator)
            np.add.at(passed, (clusters[able], clusters[ends][able]), 1)
        return self._joined(clusters, passed + passed.T)

    def _joined(self, clusters: _Clusters, passed: Float64[np.ndarray, "cluster cluster"]) -> _Clusters:
        """Join clusters of a reversible chain into those that it seldom leaves (Deuflhard and Weber, 2005)."""
        root = np.sqrt(np.maximum(passed.sum(axis=1), 1))
        values, vectors = np.linalg.eigh(passed / np.outer(root, root))
        n_kept = int((values > _RETAINED).sum())
        if n_kept < _FEWEST_CLUSTERS:
            return np.zeros_like(clusters)
        if n_kept == len(values):
            return clusters
        return self._clusters(vectors[:, -n_kept:] / root[:, None], n_kept)[clusters]


def _main(
    rows: Float32[Tensor, "row number"], generator: np.random.RandomState
) -> Float32[np.ndarray, "row direction"]:
    """Return rows in their main directions; as few are wanted, by a random projection (Halko et al., 2011)."""
    from sklearn.utils.extmath import randomized_svd

    centred = (rows - rows.mean(0)).float().numpy()
    left, deviations, _ = randomized_svd(centred, min(_N_MAIN, *centred.shape), random_state=generator)
    return left * deviations


def _scaled(rows: _Rows) -> _Rows:
    """Divide main directions by the roots of their deviations: a small property counts, noise does not."""
    deviation = rows.std(axis=0)
    return rows / np.sqrt(deviation + max(_LEAST_DEVIATION * deviation[0], 1e-12))


def _shared(first: _Clusters, second: _Clusters) -> float:
    table = contingency(first, second, int(first.max()) + 1, int(second.max()) + 1)
    return mutual_information(table) / min(entropy(table.sum(axis=0)), entropy(table.sum(axis=1)))
