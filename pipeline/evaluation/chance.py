"""What a clustering that knows nothing would score: random assignment with the same cluster sizes.

Majority-vote accuracy grows with the number of components by chance alone, so every accuracy has this beside it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from scipy.stats import random_table

from pipeline.evaluation.accuracy import Table, hungarian_accuracy, majority_map

_SEED = 0  # chance levels are a fixed function of the tables


@dataclass(frozen=True)
class ChanceLevels:
    """Expected scores when images are dealt to the components at random, sizes and labels kept.

    Attributes:
        accuracy: of :func:`~pipeline.evaluation.accuracy.accuracy`.
        accuracy_same_split: of :func:`~pipeline.evaluation.accuracy.accuracy_same_split`.
        accuracy_paper: of the same function, for clusters of the sizes that those at the posterior mean have.
        hungarian: of :func:`~pipeline.evaluation.accuracy.hungarian_accuracy`.
    """

    accuracy: float
    accuracy_same_split: float
    accuracy_paper: float
    hungarian: float


def chance_levels(train: Table, test: Table, paper: Table, draws: int = 200) -> ChanceLevels:
    """Simulate the chance levels of one facet and factor.

    Tables with the sizes and class counts of the given ones are drawn uniformly over all deals (Patefield's method);
    the expectation over the test split under a drawn training map is taken exactly.

    Args:
        train: contingency table of the training split.
        test: contingency table of the test split.
        paper: of the test split, for clusters at the posterior mean.
        draws: tables drawn of each split; the standard error is below 0.001 for a thousand images or more.
    """
    rng = np.random.default_rng(_SEED)
    sizes, classes = test.sum(axis=1) / test.sum(), test.sum(axis=0) / test.sum()
    mapped = np.array([sizes @ classes[majority_map(table)] for table in random_tables(train, draws, rng)])
    dealt = random_tables(test, draws, rng)
    return ChanceLevels(
        accuracy=float(mapped.mean()),
        accuracy_same_split=_same_split(dealt),
        accuracy_paper=_same_split(random_tables(paper, draws, rng)),
        hungarian=float(np.mean([hungarian_accuracy(table) for table in dealt])),
    )


def _same_split(dealt: Int[np.ndarray, "draw component class"]) -> float:
    return float(dealt.max(axis=2).sum(axis=1).mean() / dealt[0].sum())


def random_tables(table: Table, draws: int, rng: np.random.Generator) -> Int[np.ndarray, "draw component class"]:
    """Draw tables with the margins of ``table`` as if its images were shuffled between the components."""
    sizes, classes = table.sum(axis=1), table.sum(axis=0)
    if min(np.count_nonzero(sizes), np.count_nonzero(classes)) < 2:
        return np.repeat(table[None], draws, axis=0)  # the only deal, of which scipy 1.17 makes negative counts
    margins = random_table(sizes, classes)
    return np.asarray(margins.rvs(size=draws, random_state=rng)).astype(np.int64).reshape(draws, *table.shape)
