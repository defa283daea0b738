"""Two-dimensional views of a facet's latents, and an order of its components that keeps similar ones together."""

import numpy as np
from jaxtyping import Float, Int

from pipeline.model import MixtureView

_RIDGE = 1e-6
_OWN_SPREAD = 1e-3
_SHORTER = 1e-12


def map_places(
    latents: Float[np.ndarray, "pool latent"], mixture: MixtureView, cluster_ids: Int[np.ndarray, " pool"]
) -> Float[np.ndarray, "pool 2"]:
    """Project posterior means onto the plane that parts the facet's components best.

    Fisher's discriminant directions of the model's own components: the largest spread between the means of the
    components in use, relative to the spread within them. A small part of the data's whole spread keeps the plane
    defined for a single component. A facet of one dimension gets 0 as its second coordinate.

    Args:
        latents: posterior means.
        mixture: of the facet.
        cluster_ids: component of each image.
    """
    n_dims = latents.shape[1]
    if len(latents) == 0 or n_dims == 1:
        return np.pad(latents.astype(np.float64), ((0, 0), (0, 2)))[:, :2]
    sizes = np.bincount(cluster_ids, minlength=len(mixture.weights)) / len(cluster_ids)
    centre = sizes @ mixture.means
    whole = np.cov(latents.T.astype(np.float64), bias=True).reshape(n_dims, n_dims)
    ridge = _RIDGE * max(float(np.trace(whole)) / n_dims, _RIDGE) * np.eye(n_dims)
    within = np.einsum("k,kij->ij", sizes, mixture.covariances) + ridge
    spread = mixture.means - centre
    between = np.einsum("k,ki,kj->ij", sizes, spread, spread) + _OWN_SPREAD * whole
    whiten = np.linalg.inv(np.linalg.cholesky(within))
    _, directions = np.linalg.eigh(whiten @ between @ whiten.T)
    plane = whiten.T @ directions[:, ::-1][:, :2]
    largest = np.abs(plane).argmax(axis=0)
    return (latents - centre) @ (plane * np.sign(plane[largest, [0, 1]]))


def mean_distances(mixture: MixtureView) -> Float[np.ndarray, "component component"]:
    """Return how far the components' means lie apart, in deviations of the components' mean covariance."""
    within = np.einsum("k,kij->ij", mixture.weights, mixture.covariances)
    within += _RIDGE * max(float(np.trace(within)), _RIDGE) * np.eye(len(within))
    whitened = mixture.means @ np.linalg.inv(np.linalg.cholesky(within)).T
    return np.linalg.norm(whitened[:, None] - whitened[None], axis=-1)


def nearest_components(
    distances: Float[np.ndarray, "component component"], sizes: Int[np.ndarray, " component"], n_chosen: int
) -> Int[np.ndarray, "component neighbour"]:
    """Return the nearest other components that hold images, nearest first."""
    n_others = min(n_chosen, int((sizes > 0).sum()) - 1)
    if n_others < 1:
        return np.empty((len(sizes), 0), np.int64)
    usable = np.where((sizes > 0)[None] & ~np.eye(len(sizes), dtype=bool), distances, np.inf)
    return np.argsort(usable, axis=1, kind="stable")[:, :n_others]


def order_by_similarity(distances: Float[np.ndarray, "component component"]) -> Int[np.ndarray, " component"]:
    """Return the components along a short path through their means (nearest neighbour, then 2-opt)."""
    start = int(distances.sum(axis=1).argmax())
    path, left = [start], set(range(len(distances))) - {start}
    while left:
        path.append(min(left, key=lambda other: (distances[path[-1], other], other)))
        left.remove(path[-1])
    return np.array(_two_opt(path, distances.tolist()))


def _two_opt(path: list[int], distances: list[list[float]]) -> list[int]:
    """Turn parts of the path around while that makes it shorter."""
    improved = True
    while improved:
        improved = False
        for first in range(len(path) - 1):
            for last in range(first + 1, len(path)):
                if _turning_helps(path, distances, first, last):
                    path[first : last + 1] = path[first : last + 1][::-1]
                    improved = True
    return path


def _turning_helps(path: list[int], distances: list[list[float]], first: int, last: int) -> bool:
    change = 0.0
    if first:
        before = distances[path[first - 1]]
        change += before[path[last]] - before[path[first]]
    if last + 1 < len(path):
        after = distances[path[last + 1]]
        change += after[path[first]] - after[path[last]]
    return change < -_SHORTER
