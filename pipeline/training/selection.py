"""Which seed is published: a rule that never sees a label.

The bound on held-out images does not tell good seeds from bad ones: where the deep facet has mixed up what it should
tell apart, a shallow one repairs the reconstruction. What shows it is that its images lie between clusters. Seeds are
therefore compared by their doubt, the part of a facet's possible information about an image that its clusters leave
open. ``benchmarks.selection`` compares this rule with others, over the seeds of several collections.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.core.errors import ModelError
from pipeline.training.health import FacetHealth

_LEAST = 1e-3  # of a facet's doubt or disagreement: seeds below it are equals


@dataclass(frozen=True)
class SeedOutcome:
    """How one seed's training ended.

    Attributes:
        seed: the experiment's seed.
        reason: why it is not healthy; ``None`` if it is.
        validation_elbo: mean bound on the held-out images (on training images if none are held out), nats an image.
        epochs: finished epochs.
        facets: condition of every facet; empty if training stopped early.
    """

    seed: int
    reason: str | None
    validation_elbo: float | None
    epochs: int
    facets: tuple[FacetHealth, ...]

    @property
    def is_healthy(self) -> bool:
        """Whether the seed may be published."""
        return self.reason is None

    @property
    def doubt(self) -> float:
        """Geometric mean of the facets' doubts, in which each facet counts half as much as the next deeper one.

        The deepest facet, which is trained first, decides what is left to the others; where it is certain in all seeds,
        they make the difference.
        """
        return pooled([1.0 - facet.certainty for facet in self.facets])

    def describe(self) -> dict[str, Any]:
        """Return the record that ``model.json`` keeps."""
        return {**asdict(self), "healthy": self.is_healthy, "facets": [asdict(facet) for facet in self.facets]}

    @classmethod
    def from_description(cls, record: dict[str, Any]) -> "SeedOutcome":
        """Undo :meth:`describe`."""
        values = {key: value for key, value in record.items() if key != "healthy"}
        return cls(**{**values, "facets": tuple(FacetHealth(**facet) for facet in record["facets"])})


def pooled(parts: Sequence[float]) -> float:
    """Return the geometric mean of a quantity of every facet, shallowest first; each weighs half of the next deeper."""
    weights = [0.5**n for n in range(len(parts))]
    logs = [weight * math.log(max(_LEAST, part)) for weight, part in zip(weights, reversed(parts), strict=True)]
    return math.exp(sum(logs) / sum(weights))


def collapse_reason(facets: Sequence[FacetHealth], min_entropy: float) -> str | None:
    """Return why a model counts as collapsed, or ``None``."""
    for j, facet in enumerate(facets):
        if facet.active_units == 0:
            return f"facet {j} collapsed: no latent dimension varies with the image"
        if facet.entropy < min_entropy:
            return (
                f"facet {j} collapsed: the entropy of its cluster sizes is {facet.entropy:.2f} of log K, "
                f"less than the {min_entropy} of a healthy facet"
            )
    return None


def select_seed(outcomes: Sequence[SeedOutcome], min_healthy_seeds: int) -> SeedOutcome:
    """Return the healthy seed that leaves least doubt; of equals, the one with the highest validation bound.

    Raises:
        ModelError: too few seeds are healthy; the message gives every reason.
    """
    healthy = [outcome for outcome in outcomes if outcome.is_healthy]
    if len(healthy) < min_healthy_seeds:
        reasons = "; ".join(f"seed {outcome.seed}: {outcome.reason}" for outcome in outcomes if not outcome.is_healthy)
        raise ModelError(
            f"train.min_healthy_seeds asks for {min_healthy_seeds} healthy seeds, got {len(healthy)} ({reasons}); "
            "lower the learning rate or the number of components, have fewer facets, or try other seeds"
        )
    return min(healthy, key=lambda outcome: (outcome.doubt, -(outcome.validation_elbo or float("-inf"))))
