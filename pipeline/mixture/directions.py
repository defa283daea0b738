"""Statistics of training rows that a ladder over rows reads by, in float64; no labels but hints take part.

The deepest facet reads the directions in which rows differ most, measured by how much neighbours differ in them: the
criterion of a discriminant analysis whose classes are neighbourhoods. What is merely large (light, the ground that
things lie on) differs between neighbours, too, and does not count.

A shallower facet reads what is left of the row once the centre of its cluster among the deeper facet's directions is
taken off: those directions that vary in *every* cluster. The geometric mean of the clusters' covariances
(log-Euclidean; Arsigny et al., 2006) is small wherever one cluster's is, which tells a property of all rows from one
of a few.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from pipeline.core.errors import ModelError
from pipeline.mixture.fit import k_means
from pipeline.mixture.hinted import HintedRows, Scatter
from pipeline.model.residual_directions import ResidualDirections

_N_STARTS = 50  # of k-means: what all shallower facets read depends on the clusters
_N_NEIGHBOURS = 10
_MOST_ROWS = 6000  # whose neighbours are looked for, among themselves
_LEAST_VARIANCE = 1e-9  # of a direction, over that of the first: beneath is rounding
_RIDGE = 1.0  # of the mean variance, added to covariances: few rows know few directions
_RIDGE_OF_HINTS = 0.03  # added to what hinted images differ in: neighbours know all directions already
_LEAST_RATIO = 1.001  # of variance to that of neighbours: a direction below it counts for next to nothing

_Rows = Float[Tensor, "row number"]
_Square = Float[Tensor, "number number"]


def learn_directions(
    directions: ResidualDirections,
    rows: Float[Tensor, "row number"],
    index: int,
    random_state: int,
    hinted: HintedRows | None = None,
) -> None:
    """Take the statistics of training rows into one model of the seed axis.

    Args:
        directions: of a ladder.
        rows: as floats.
        index: of the seed axis.
        random_state: of k-means.
        hinted: what is known of some of the rows.

    Raises:
        ModelError: the rows are all the same, or fewer than a facet's clusters.
    """
    rows = rows.double()
    _require_rows(rows, max(directions.n_components))
    offset, main = main_directions(rows, directions.n_main)
    values = {"offset": offset, "main": main}
    left = Remainder.of_all((rows - offset) @ main)
    for j in reversed(range(len(directions.widths))):
        scatters = {} if hinted is None else hinted.scatters(left.rows)
        avoided = [one.between for facet, one in scatters.items() if facet < j and one.between is not None]
        project = left.directions(directions.widths[j], scatters.get(j), avoided)
        values[f"project_{j}"] = project
        if j > 0:
            read = left.rows @ project
            n_clusters, generator = directions.n_components[j], np.random.RandomState(random_state)
            clusters = torch.from_numpy(k_means(read.numpy(), n_clusters, generator, _N_STARTS)).long()
            centres = {"centres": left.rows, "seen_centres": read}
            values |= {f"{name}_{j - 1}": _filled(_means(of, clusters), n_clusters) for name, of in centres.items()}
            left = left.without(clusters)
    directions.place(index, values)


@dataclass(frozen=True)
class Remainder:
    """Rows less what deeper facets' clusters say of them.

    Attributes:
        rows: in their main directions, without the centre of each one's cluster.
        clusters: of the facet before; all 0 where there is none.
    """

    rows: _Rows
    clusters: Int64[Tensor, " row"]

    @classmethod
    def of_all(cls, rows: _Rows) -> "Remainder":
        """Return centred rows that no facet has said anything of."""
        return cls(rows, torch.zeros(len(rows), dtype=torch.int64))

    def directions(
        self, n_read: int, hinted: Scatter | None = None, avoided: Sequence[_Square] = ()
    ) -> Float[Tensor, "number read"]:
        """Return the directions that vary in every cluster, by how much more than between neighbours.

        Args:
            n_read: how many.
            hinted: how hinted rows vary in this facet.
            avoided: how they do in facets that are still to come.
        """
        noise = _of_neighbours(self.rows) + sum(avoided)
        if hinted is None:
            return _discriminants(_common_covariance(self.rows, self.clusters), noise, n_read, _RIDGE)
        noise = noise + hinted.within
        wanted = _common_covariance(self.rows, self.clusters) if hinted.between is None else hinted.between + noise
        return _discriminants(wanted, noise, n_read, _RIDGE_OF_HINTS)

    def without(self, clusters: Int64[Tensor, " row"]) -> "Remainder":
        """Return what the centres of a facet's clusters leave."""
        numbers = clusters.unique(return_inverse=True)[1]
        return Remainder(self.rows - _means(self.rows, numbers)[numbers], numbers)


def main_directions(rows: _Rows, n_main: int) -> tuple[Float[Tensor, " number"], Float[Tensor, "number main"]]:
    """Return the mean of rows and the orthonormal directions of most variance, at most as many as rows tell apart."""
    offset = rows.mean(0)
    centred = rows - offset
    # Products of rows where these are fewer than numbers: of 500 large images they have the same eigenvalues at once.
    of_rows = len(rows) < rows.shape[1]
    variance, vectors = torch.linalg.eigh((centred @ centred.T if of_rows else centred.T @ centred) / len(rows))
    variance, vectors = variance.flip(0)[:n_main], vectors.flip(1)[:, :n_main]
    vectors = vectors[:, variance > _LEAST_VARIANCE * variance[0]]
    return offset, functional.normalize(centred.T @ vectors, dim=0) if of_rows else vectors


def _require_rows(rows: _Rows, n_clusters: int) -> None:
    if len(rows) < n_clusters:
        raise ModelError(
            f"a model needs at least as many training rows as components, got {len(rows)} rows for {n_clusters} "
            "components; lower n_components or add rows"
        )
    if bool((rows == rows[0]).all()):
        raise ModelError(
            f"rows of features must differ, got {len(rows)} rows that are all the same; look at the source"
        )


def _means(rows: _Rows, clusters: Int64[Tensor, " row"]) -> Float[Tensor, "cluster number"]:
    return torch.stack([rows[clusters == c].mean(0) for c in clusters.unique()])


def _filled(centres: Float[Tensor, "some number"], n_clusters: int) -> Float[Tensor, "cluster number"]:
    """Repeat the last centre where k-means has found fewer distinct rows: of equally near ones the first is taken."""
    return torch.cat([centres, centres[-1:].expand(n_clusters - len(centres), -1)])


def _common_covariance(left: _Rows, clusters: Int64[Tensor, " row"]) -> _Square:
    """Return exp of the mean logarithm of the covariances of rows without their clusters' means, each with a ridge."""
    ridge = _ridge(left.var(0), _RIDGE)
    parts = [left[clusters == c] for c in clusters.unique()]
    logarithms = [_of_spectrum(part.T @ part / len(part) + ridge, torch.log) for part in parts]
    return _of_spectrum(torch.stack(logarithms).mean(0), torch.exp)


def _ridge(variances: Float[Tensor, " number"], part: float) -> _Square:
    """Return what is added to a covariance; it is positive even where few distinct rows leave no variance."""
    least = variances.mean().clamp_min(torch.finfo(variances.dtype).eps)
    return part * least * torch.eye(len(variances), dtype=variances.dtype)


def _of_spectrum(matrix: _Square, function: Callable[[Tensor], Tensor]) -> _Square:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * function(values) @ vectors.T


def _of_neighbours(rows: _Rows) -> _Square:
    """Return half the mean square of differences between rows and their nearest neighbours by angle."""
    rows = rows[:: -(-len(rows) // _MOST_ROWS)]
    unit = functional.normalize(rows - rows.mean(0), dim=1)
    total = torch.zeros(rows.shape[1], rows.shape[1], dtype=rows.dtype)
    n_nearest = min(_N_NEIGHBOURS, len(rows) - 1)
    for start in range(0, len(rows), 1024):
        block = slice(start, start + 1024)
        nearest = (unit[block] @ unit.T).topk(n_nearest + 1, dim=1).indices[:, 1:]  # the first is the row itself
        difference = (rows[block][:, None] - rows[nearest]).flatten(0, 1)
        total += difference.T @ difference
    return total / (2 * len(rows) * n_nearest)


def _discriminants(wanted: _Square, noise: _Square, n_read: int, ridge: float) -> Float[Tensor, "number read"]:
    """Return the directions of most wanted variance over that of noise, whose deviation becomes the unit.

    A direction counts by the part of its variance that noise does not explain.
    """
    inverse = torch.linalg.inv(torch.linalg.cholesky(noise + _ridge(noise.diagonal(), ridge)))
    ratio, vectors = torch.linalg.eigh(inverse @ wanted @ inverse.T)
    ratio, vectors = ratio.flip(0)[:n_read], vectors.flip(1)[:, :n_read]
    return inverse.T @ vectors * (1 - 1 / ratio.clamp_min(_LEAST_RATIO)).sqrt()
