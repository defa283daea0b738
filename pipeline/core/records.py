"""Records that pass between layers which must not import each other."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32


@dataclass(frozen=True)
class FacetAssignment:
    """Which component of one facet each of n images belongs to.

    Attributes:
        cluster_id: component with the largest responsibility.
        confidence: that responsibility.
        entropy: of the responsibilities, in nats.
        typicality: log p(z_j) at the posterior mean, in nats.
        runner_up: component with the second largest responsibility; -1 where the facet has one component.
        runner_up_confidence: that responsibility; 0 where there is none.
        group_confidence: summed responsibility of the group that the component belongs to; None where the model's
            components form no groups.
        resp: all responsibilities, if asked for.
    """

    cluster_id: Int32[np.ndarray, " image"]
    confidence: Float32[np.ndarray, " image"]
    entropy: Float32[np.ndarray, " image"]
    typicality: Float32[np.ndarray, " image"]
    runner_up: Int32[np.ndarray, " image"]
    runner_up_confidence: Float32[np.ndarray, " image"]
    group_confidence: Float32[np.ndarray, " image"] | None = None
    resp: Float32[np.ndarray, "image component"] | None = None
