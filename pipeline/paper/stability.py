"""How much a result depends on the seed, architecture beside architecture (paper, appendix E.1 and Fig. 10)."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any, Literal

Convention = Literal["accuracy", "accuracy_same_split", "accuracy_paper"]


@dataclass(frozen=True)
class SeedSpread:
    """Accuracy of one experiment for one factor, in the facet that follows the factor best on average.

    Attributes:
        experiment: its name.
        factor: the label factor.
        facet: the facet, chosen by the mean over seeds and the same for all seeds.
        n_seeds: healthy seeds.
        n_unhealthy: seeds that did not finish in health; they are in no number.
        mean: over seeds.
        std: sample standard deviation; None for a single seed.
        lowest: of all seeds.
        highest: of all seeds.
        by_seed: accuracy of every healthy seed.
    """

    experiment: str
    factor: str
    facet: str
    n_seeds: int
    n_unhealthy: int
    mean: float
    std: float | None
    lowest: float
    highest: float
    by_seed: dict[str, float]


def seed_spread(metrics: Mapping[str, Any], factor: str, convention: Convention = "accuracy_paper") -> SeedSpread:
    """Summarise one experiment over its seeds.

    Args:
        metrics: content of its ``metrics.json``.
        factor: one of its label factors.
        convention: which accuracy; the paper's by default.
    """
    by_facet = {
        facet: {
            seed: float(tree["facets"][facet]["factors"][factor][convention]) for seed, tree in metrics["seeds"].items()
        }
        for facet in metrics["selected"]["facets"]
    }
    facet, by_seed = max(by_facet.items(), key=lambda item: mean(item[1].values()))
    values = list(by_seed.values())
    return SeedSpread(
        experiment=metrics["experiment"],
        factor=factor,
        facet=facet,
        n_seeds=len(values),
        n_unhealthy=len(metrics["unhealthy_seeds"]),
        mean=mean(values),
        std=stdev(values) if len(values) > 1 else None,
        lowest=min(values),
        highest=max(values),
        by_seed=by_seed,
    )
