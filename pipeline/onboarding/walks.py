"""Walks over rows that change a property at every step, and what they keep.

If rows have two properties that vary independently, then among the rows of one value of the first there is, for each
row of another value, one that has the same second property, and it is the nearest. So a walk that always steps to the
nearest row of *another* value of the first property keeps the second one for ever, whatever the shape of either: no
direction of the rows has to stand for it. Where all that varies is one property, cut into pieces, a step to another
piece leads to its border, and after a few steps nothing is known of where the walk began.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int

N_STEPS = 3
"""After which a walk is asked what it has kept."""

N_WALKS = 6
"""From each row, where something is judged by them."""

_N_NEAR = 2  # other clusters that a step may lead to: a larger change of what changes may hide what is kept
_FEWEST = 5  # rows of a cluster that is walked through
_LATER = 3  # further steps over which what is kept is averaged
_N_JUDGED = 30  # directions in which walks are asked what they keep
_RIDGE = 1e-3  # of the mean variance

_Rows = Float32[np.ndarray, "row number"]
_Index = Int[np.ndarray, " row"]


@dataclass(frozen=True)
class Walks:
    """Where a step can lead.

    Attributes:
        left: rows without the mean of their cluster.
        clusters: of each row.
        nearest: row of each cluster that is nearest to each row.
        steps: clusters to which a step may lead from each one, and others after them.
        n_steps: to how many a step may lead; 0 from a cluster of few rows.
    """

    left: _Rows
    clusters: _Index
    nearest: Int[np.ndarray, "row cluster"]
    steps: Int[np.ndarray, "cluster cluster"]
    n_steps: Int[np.ndarray, " cluster"]

    @classmethod
    def between(cls, rows: _Rows, distances: Float32[np.ndarray, "row row"], clusters: _Index) -> "Walks":
        """Return walks that step to another cluster each time.

        Args:
            rows: among which walks lead.
            distances: between them, squared or not.
            clusters: of each row, numbered from 0, none empty.
        """
        members = [np.flatnonzero(clusters == one) for one in range(clusters.max() + 1)]
        means = np.stack([rows[of].mean(axis=0) for of in members])
        large = np.array([len(of) >= _FEWEST for of in members])
        differ = large[:, None] & large & ~np.eye(len(members), dtype=bool)
        apart = np.where(differ, ((means[:, None] - means) ** 2).sum(axis=2), np.inf)
        near = (apart.argsort(axis=1).argsort(axis=1) < _N_NEAR) & differ
        allowed = near | near.T
        return cls(
            left=rows - means[clusters],
            clusters=clusters,
            nearest=np.stack([of[distances[of].argmin(axis=0)] for of in members], axis=1),
            steps=(~allowed).argsort(axis=1, kind="stable"),
            n_steps=allowed.sum(axis=1),
        )

    def ends(self, generator: np.random.RandomState) -> tuple[_Index, Bool[np.ndarray, " row"]]:
        """Return the row where a walk from each row is after :data:`N_STEPS`, and which rows can walk."""
        at = np.arange(len(self.clusters))
        for _ in range(N_STEPS):
            at = self._step(at, generator)
        return at, self.n_steps[self.clusters] > 0

    def returns(self, generator: np.random.RandomState) -> tuple[_Index, _Index]:
        """Return rows, and the rows of their own clusters to which walks of :data:`N_STEPS` and a step home led."""
        at = np.arange(len(self.clusters))
        for _ in range(N_STEPS - 1):
            at = self._step(at, generator)
        last = self._next(self.clusters, generator)  # a cluster from which a step leads home
        possible = (self.clusters[at] != last) & (self.n_steps[self.clusters] > 0)
        home = self.nearest[self.nearest[at, last], self.clusters]
        return np.flatnonzero(possible), home[possible]

    def presence(self, generator: np.random.RandomState) -> float:
        """Return how far rows agree with where walks return to, in the second best direction of what clusters leave.

        1 is the same place, 0 is chance. The second, as a fold keeps one direction, too: along a circle that is cut by
        one coordinate, the sign of the other. Directions are those of one half of the rows, judged by the other half.
        """
        pairs = [self.returns(generator) for _ in range(N_WALKS)]
        start, end = (np.concatenate(of) for of in zip(*pairs, strict=True))
        read = principal_components(self.left, _N_JUDGED).astype(np.float64)
        half = generator.permutation(len(read)) < len(read) // 2
        if min(half[start].sum(), (~half)[start].sum()) <= _N_JUDGED:
            return 0.0
        return float(np.mean([_agreement(read[start], read[end], learn[start]) for learn in (half, ~half)]))

    def kept(self, generator: np.random.RandomState, n_walks: int) -> _Rows:
        """Return for each row the mean of what is left of the rows that walks from it visit later on."""
        total = np.zeros_like(self.left)
        for _ in range(n_walks):
            at, _ = self.ends(generator)
            for _ in range(_LATER):
                at = self._step(at, generator)
                total += self.left[at]
        return total / (n_walks * _LATER)

    def _step(self, at: _Index, generator: np.random.RandomState) -> _Index:
        return self.nearest[at, self._next(self.clusters[at], generator)]

    def _next(self, clusters: _Index, generator: np.random.RandomState) -> _Index:
        drawn = (generator.random_sample(len(clusters)) * self.n_steps[clusters]).astype(np.int64)
        return self.steps[clusters, drawn]


def principal_components(rows: _Rows, n_directions: int) -> Float32[np.ndarray, "row direction"]:
    """Return rows without their mean in the directions of most variance, at most all."""
    centred = rows - rows.mean(axis=0)
    return centred @ np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :n_directions]


def _agreement(
    start: Float64[np.ndarray, "walk direction"],
    end: Float64[np.ndarray, "walk direction"],
    learn: Bool[np.ndarray, " walk"],
) -> float:
    a, b = start[learn], end[learn]
    common, within = a.T @ b + b.T @ a, a.T @ a + b.T @ b
    within += max(_RIDGE * np.trace(within) / len(within), 1e-12) * np.eye(len(within))
    inverse = np.linalg.inv(np.linalg.cholesky(within))
    direction = inverse.T @ np.linalg.eigh(inverse @ common @ inverse.T)[1][:, -min(2, len(within))]
    a, b = start[~learn] @ direction, end[~learn] @ direction
    return float(1 - ((a - b) ** 2).mean() / max(a.var() + b.var(), 1e-12))
