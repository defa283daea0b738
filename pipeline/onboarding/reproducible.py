"""Whether a collection is divided more reproducibly than one without any clusters would be.

Halves of pure noise agree on clusters, too, and the better the fewer directions it has: three columns of normal numbers
by 0.4. So what halves of a collection agree by is compared with what halves of normal rows agree by that are as many
and spread as far in every main direction, but have no clusters (after the gap statistic; Tibshirani et al., 2001).
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.core.progress import progress
from pipeline.onboarding.directions import RANDOM_STATE, n_read
from pipeline.onboarding.number_of_clusters import candidates_of, in_main_directions, judge_numbers
from pipeline.onboarding.settings import FEWEST_PER_CLUSTER

_N_REFERENCES = 2
_LEAST, _MORE = 0.3, 0.1
"""What halves must agree by, at least, and by how much more than without clusters: `benchmarks/recipes.md`."""


@dataclass(frozen=True)
class Reproducibility:
    """How far halves of a collection agree, and halves of one without clusters.

    Attributes:
        noun: what people call one of the collection.
        stability: of each facet, shallowest first: adjusted Rand index of the clusters of two halves.
        without_clusters: the same of normal rows of the same spread.
    """

    noun: str
    stability: tuple[float, float]
    without_clusters: tuple[float, float]

    @property
    def is_shown(self) -> bool:
        """Whether any facet is reproducible."""
        pairs = zip(self.stability, self.without_clusters, strict=True)
        return any(found >= max(_LEAST, reference + _MORE) for found, reference in pairs)

    @property
    def note(self) -> str:
        """What a person should know where nothing is."""
        return (
            f"nothing reproducible was found: halves of the {self.noun}s agree on clusters by "
            f"{_shown(self.stability)}, halves of random {self.noun}s of the same spread by "
            f"{_shown(self.without_clusters)} (adjusted Rand index: 1 is the same clusters, 0 chance). Other "
            f"{self.noun}s of the same kind would be divided otherwise, so do not read much into clusters of a rebuild"
        )

    @property
    def remarks(self) -> list[str]:
        """The same for the section, line by line."""
        here, without = (" and ".join(f"{one:.2f}" for one in of) for of in (self.stability, self.without_clusters))
        return [
            f"Nothing reproducible was found: halves of the {self.noun}s agree on clusters by {here} (facets 0, 1),",
            f"halves of random {self.noun}s of the same spread by {without}. Others would be divided otherwise.",
        ]


def judge_reproducibility(
    rows: Float[Tensor, "row number"],
    numbers: tuple[int, int],
    noun: str,
    stability: tuple[float, float] | None = None,
) -> Reproducibility | None:
    """Return how reproducibly a collection is divided, and show progress; None of one that is too small to tell.

    Args:
        rows: of the collection, some thousand at most.
        numbers: of clusters of each facet, shallowest first.
        noun: what people call one of them.
        stability: of these numbers, where it is known.
    """
    if len(candidates_of(len(rows), FEWEST_PER_CLUSTER)) == 1:
        return None
    main = in_main_directions(rows)
    with progress("is it reproducible", _N_REFERENCES + (stability is None), "comparison") as bar:

        def agreement(rows: Float[Tensor, "row direction"]) -> tuple[float, float]:
            (found,) = judge_numbers(rows, numbers[:1], numbers[1:], n_read(), RANDOM_STATE)
            bar.advance(1)
            return found.stability

        stability = agreement(main) if stability is None else stability
        references = [agreement(_without_clusters(main, seed)) for seed in range(_N_REFERENCES)]
    shallow, deep = (float(value) for value in np.mean(references, axis=0))
    return Reproducibility(noun, stability, (shallow, deep))


def _without_clusters(rows: Float[Tensor, "row direction"], seed: int) -> Float[Tensor, "row direction"]:
    generator = torch.Generator().manual_seed(RANDOM_STATE + seed)
    return torch.randn(rows.shape, generator=generator, dtype=rows.dtype) * rows.std(0)


def _shown(values: tuple[float, float]) -> str:
    return f"{values[0]:.2f} in facet 0 and {values[1]:.2f} in facet 1"
