"""Statistics of training rows that a ladder over features reads by, in float64; no labels take part.

The deepest facet reads the main directions, half-whitened. A shallower one reads what is left of the row once the
centre of its cluster among the deeper facet's directions is taken off: those directions that vary in *every* cluster,
measured by how much neighbours differ in them. The geometric mean of the clusters' covariances (log-Euclidean;
Arsigny et al., 2006) is small wherever one cluster's is, which tells a property of all rows from one of a few; over the
covariance of neighbours it is the criterion of a discriminant analysis whose classes are neighbourhoods.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from pipeline.core.errors import ModelError
from pipeline.mixture.fit import k_means
from pipeline.model.residual_directions import ResidualDirections, of_one_length

_N_STARTS = 50  # of k-means: what all shallower facets read depends on the clusters
_N_NEIGHBOURS = 10
_MOST_ROWS = 6000  # whose neighbours are looked for, among themselves
_LEAST_VARIANCE = 1e-9  # of a direction, over that of the first: beneath is rounding
_RIDGE = 0.3  # of the mean variance, added to covariances: few rows know few directions
_LEAST_RATIO = 1.001  # of variance to that of neighbours: a direction below it counts for next to nothing

_Rows = Float[Tensor, "row number"]
_Square = Float[Tensor, "number number"]


def learn_directions(
    directions: ResidualDirections, rows: Float[Tensor, "row number"], index: int, random_state: int
) -> None:
    """Take the statistics of training rows into one model of the seed axis.

    Args:
        directions: of a ladder.
        rows: as floats.
        index: of the seed axis.
        random_state: of k-means.

    Raises:
        ModelError: the rows are all the same, or fewer than a facet's clusters.
    """
    rows, deepest = rows.double(), len(directions.widths) - 1
    _require_rows(rows, max(directions.n_components))
    length = rows.norm(dim=1).mean()[None]
    rows = of_one_length(rows, length)
    values = {"length": length, "offset": rows.mean(0)}
    values["main"] = _main_directions(rows - values["offset"], directions.n_main)
    left = (rows - values["offset"]) @ values["main"]
    project = _half_whitened(left, directions.widths[deepest])
    values[f"project_{deepest}"] = project
    for j in reversed(range(deepest)):
        read, n_clusters = left @ project, directions.n_components[j + 1]
        labels = k_means(read.numpy(), n_clusters, np.random.RandomState(random_state), _N_STARTS)
        clusters = torch.from_numpy(labels).long().unique(return_inverse=True)[1]
        values[f"centres_{j}"], values[f"seen_centres_{j}"] = (
            _filled(_means(of, clusters), n_clusters) for of in (left, read)
        )
        left = left - values[f"centres_{j}"][clusters]
        common = _common_covariance([left[clusters == c] for c in clusters.unique()], left)
        project = _discriminants(common, _of_neighbours(left), directions.widths[j])
        values[f"project_{j}"] = project
    directions.place(index, values)


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


def _main_directions(centred: _Rows, n_main: int) -> Float[Tensor, "number main"]:
    """Return the orthonormal directions of most variance, at most as many as rows tell apart."""
    variance, directions = torch.linalg.eigh(centred.T @ centred / len(centred))
    variance, directions = variance.flip(0)[:n_main], directions.flip(1)[:, :n_main]
    return directions[:, variance > _LEAST_VARIANCE * variance[0]]


def _half_whitened(left: _Rows, n_read: int) -> Float[Tensor, "main read"]:
    """Return the main directions, each over the root of its deviation, in units of how much neighbours differ."""
    project = torch.diag(left.var(0).clamp_min(torch.finfo(left.dtype).tiny) ** -0.25)[:, :n_read]
    read = left @ project
    unit = _of_neighbours(read).diagonal().mean()
    # Where all nearest neighbours are copies of a row, they do not differ: the deviation of all rows is the unit.
    return project / (unit if unit > 0 else read.var(0).mean()).sqrt()


def _common_covariance(parts: Sequence[Float[Tensor, "_ number"]], whole: _Rows) -> _Square:
    """Return exp of the mean logarithm of the parts' covariances, each with a ridge."""
    ridge = _ridge(whole.var(0))
    logarithms = [_of_spectrum(part.T @ part / len(part) + ridge, torch.log) for part in parts]
    return _of_spectrum(torch.stack(logarithms).mean(0), torch.exp)


def _ridge(variances: Float[Tensor, " number"]) -> _Square:
    """Return what is added to a covariance; it is positive even where few distinct rows leave no variance."""
    least = variances.mean().clamp_min(torch.finfo(variances.dtype).eps)
    return _RIDGE * least * torch.eye(len(variances), dtype=variances.dtype)


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


def _discriminants(common: _Square, neighbours: _Square, n_read: int) -> Float[Tensor, "number read"]:
    """Return the directions of most common variance over that of neighbours, whose deviation becomes the unit.

    A direction counts by the part of its variance that neighbours do not explain.
    """
    inverse = torch.linalg.inv(torch.linalg.cholesky(neighbours + _ridge(neighbours.diagonal())))
    ratio, vectors = torch.linalg.eigh(inverse @ common @ inverse.T)
    ratio, vectors = ratio.flip(0)[:n_read], vectors.flip(1)[:, :n_read]
    return inverse.T @ vectors * (1 - 1 / ratio.clamp_min(_LEAST_RATIO)).sqrt()
