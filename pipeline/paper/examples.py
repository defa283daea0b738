"""Which clusters and images to look at first (paper, Fig. 4)."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int


def ordered_clusters(cluster_id: Int[np.ndarray, " image"], confidence: Float[np.ndarray, " image"]) -> list[int]:
    """Return the non-empty clusters, the largest mean assignment probability of their images first.

    Args:
        cluster_id: component of every image.
        confidence: its assignment probability.
    """
    sizes = np.bincount(cluster_id)
    total = np.bincount(cluster_id, weights=confidence.astype(np.float64))
    present = np.flatnonzero(sizes)
    mean = total[present] / sizes[present]
    return present[np.argsort(-mean, kind="stable")].tolist()


def ordered_members(
    cluster_id: Int[np.ndarray, " image"], confidence: Float[np.ndarray, " image"], clusters: Sequence[int], n: int
) -> list[Int[np.ndarray, " member"]]:
    """Return the rows of at most ``n`` images of each cluster, the largest assignment probability first.

    Images of equal probability come in their own order.
    """
    members = []
    for cluster in clusters:
        rows = np.flatnonzero(cluster_id == cluster)
        members.append(rows[np.argsort(-confidence[rows], kind="stable")][:n])
    return members
