"""Directions in which the clusters of k-means differ most, in float64; no labels take part.

Fisher's discriminant analysis with the clusters as classes: a few directions keep most of what all pixels say about the
clusters, where as many principal components keep what is merely large.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from pipeline.core.errors import ModelError
from pipeline.mixture.fit import k_means

_N_STARTS = 10  # of k-means
_SHRINKAGE = 0.5  # of the covariance within clusters towards one of equal variances: few images know few directions
_EPS = torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class Discriminants:
    """An affine map, ``(row - offset) @ directions``, in which clusters have a mean variance of 1.

    The directions are orthogonal, of one length, and sorted by how much rows vary along them.
    """

    offset: Float64[Tensor, " number"]
    directions: Float64[Tensor, "number direction"]


def cluster_discriminants(
    rows: Float[Tensor, "row number"], n_clusters: int, n_directions: int, random_state: int
) -> Discriminants:
    """Cluster rows and find the directions.

    Args:
        rows: at least as many as clusters.
        n_clusters: of k-means.
        n_directions: at most as many as a row has numbers; those beyond the clusters, less one, are arbitrary.
        random_state: of k-means.

    Raises:
        ModelError: rows have fewer numbers than directions are wanted.
    """
    if rows.shape[1] < n_directions:
        raise ModelError(
            f"images have {rows.shape[1]} numbers, but the deepest facet of network_init discriminants wants "
            f"{n_directions} directions of them; lower its latent_dims"
        )
    from scipy.linalg import eigh  # half of the start of a stage that needs none

    rows = rows.double()
    labels = torch.from_numpy(k_means(rows.numpy(), n_clusters, np.random.RandomState(random_state), _N_STARTS)).long()
    offset = rows.mean(0)
    found, clusters = labels.unique(return_inverse=True)
    centres = torch.stack([rows[clusters == c].mean(0) for c in range(len(found))])[clusters]
    within, between = ((part.T @ part) / len(rows) for part in (rows - centres, centres - offset))
    # Where few distinct rows leave no variance within clusters, what rounding leaves of all variance stands in.
    variance = torch.maximum(within.diagonal().mean(), _EPS * between.diagonal().mean()).clamp_min(_EPS)
    within = (1 - _SHRINKAGE) * within + _SHRINKAGE * variance * torch.eye(len(offset), dtype=rows.dtype)
    vectors = eigh(between.numpy(), within.numpy())[1][:, -n_directions:]
    directions = torch.linalg.qr(torch.from_numpy(vectors)).Q
    read = (rows - offset) @ directions
    directions = directions @ torch.linalg.eigh(read.T @ read).eigenvectors.flip(1)
    unit = ((rows - centres) @ directions).square().mean().sqrt()
    return Discriminants(offset, directions / (unit if unit > 0 else 1.0))
