"""Whether facets ask different questions: what the clusters of one facet tell about those of another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from pipeline.core.contingency import (
    contingency,
    expected_mutual_information,
    mutual_information,
    normalised_mutual_information,
)


@dataclass(frozen=True)
class Dependence:
    """What the clusters of two facets tell about each other.

    Attributes:
        mutual_information: in nats.
        normalised: over the mean of the two entropies, in [0, 1].
        chance: expected mutual information in nats of two clusterings of the same sizes that ignore each other; with
            few images per cell it is far above 0.
    """

    mutual_information: float
    normalised: float
    chance: float


def facet_dependence(
    first: Int[np.ndarray, " image"], second: Int[np.ndarray, " image"], n_first: int, n_second: int
) -> Dependence:
    """Compare the clusters that two facets give to the same images.

    Args:
        first: component of every image in one facet.
        second: component of every image in the other facet.
        n_first: components of the one facet.
        n_second: components of the other facet.
    """
    table = contingency(first, second, n_first, n_second)
    return Dependence(
        mutual_information=mutual_information(table),
        normalised=normalised_mutual_information(table),
        chance=expected_mutual_information(table),
    )


def dependence_of_all(
    cluster_ids: Sequence[Int[np.ndarray, " image"]], n_components: Sequence[int]
) -> dict[tuple[int, int], Dependence]:
    """Compare every pair of facets (i, j), i < j; one facet alone gives an empty result."""
    n_facets = len(cluster_ids)
    return {
        (i, j): facet_dependence(cluster_ids[i], cluster_ids[j], n_components[i], n_components[j])
        for i in range(n_facets)
        for j in range(i + 1, n_facets)
    }
