"""Whether the images of a new batch look to the model like images of the training distribution.

Two questions are asked of each facet, both against the held-out test split: against the images that the model was
trained on every new batch would look less typical, because a model knows those better.

* Typicality: do the values of log p(z_j) have the same distribution? Two-sample Kolmogorov-Smirnov test.
* Occupancy: do the images fall into the components in the same shares? Pearson's χ² test of homogeneity on the counts
  of both samples; components in which fewer than five images are to be expected are counted together.

The smaller of the two p-values, doubled (Bonferroni), is the facet's; its score is -log10 of it. A batch is drifted
where the smallest facet's p-value times the number of facets is at most ``ingest.drift.false_alarm_rate``. Both tests
take the sizes of both samples into account, so a batch drawn as the test split was is flagged at most at that rate,
whatever its size. Large batches show smaller differences: a flag says that there is a difference, the score how
certain that is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32, Int64

from pipeline.config.service import DriftParams
from pipeline.core.parquet import read_columns

MAX_SCORE = 300.0
"""No double holds much smaller p-values."""

MIN_EXPECTED = 5.0
"""Images that a cell must expect for Pearson's test to hold."""


@dataclass(frozen=True)
class FacetSample:
    """What a model says about some images in one facet.

    Attributes:
        cluster_id: component of each image.
        typicality: log p(z_j) of each image, in nats.
    """

    cluster_id: Int32[np.ndarray, " image"]
    typicality: Float32[np.ndarray, " image"]


@dataclass(frozen=True)
class Drift:
    """How far a batch is from what the model was trained on.

    Attributes:
        scores: -log10 of the p-value of each facet, from 0 to :data:`MAX_SCORE`.
        drifted: whether the batch counts as drifted.
    """

    scores: tuple[float, ...]
    drifted: bool


def read_samples(folder: Path, n_facets: int) -> list[FacetSample]:
    """Return what the assignments in a folder of ``facet_<j>.parquet`` say."""
    columns = ["cluster_id", "typicality"]
    tables = [read_columns(folder / f"facet_{facet}.parquet", columns) for facet in range(n_facets)]
    return [FacetSample(*(table[name].to_numpy() for name in columns)) for table in tables]


def measure_drift(reference: Sequence[FacetSample], batch: Sequence[FacetSample], params: DriftParams) -> Drift | None:
    """Compare a batch with the test split; None where either has too few images to tell.

    Args:
        reference: the test split, one sample a facet.
        batch: likewise.
        params: the section ``ingest.drift``.
    """
    if min(len(reference[0].cluster_id), len(batch[0].cluster_id)) < params.min_images:
        return None
    p_values = [max(facet_p_value(*pair), 10.0**-MAX_SCORE) for pair in zip(reference, batch, strict=True)]
    scores = tuple(round(-float(np.log10(p)), 6) + 0.0 for p in p_values)
    return Drift(scores, min(p_values) * len(p_values) <= params.false_alarm_rate)


def facet_p_value(reference: FacetSample, batch: FacetSample) -> float:
    """Return the p-value of one facet: how probable so large a difference is between samples of one distribution."""
    from scipy.stats import ks_2samp

    typicality: Any = ks_2samp(reference.typicality, batch.typicality, method="asymp")
    n_components = 1 + max(int(reference.cluster_id.max()), int(batch.cluster_id.max()))
    counts = np.stack([np.bincount(sample.cluster_id, minlength=n_components) for sample in (reference, batch)])
    return min(1.0, 2 * min(float(typicality.pvalue), occupancy_p_value(counts)))


def occupancy_p_value(counts: Int64[np.ndarray, "sample component"]) -> float:
    """Return the p-value of Pearson's χ² test that two samples fall into components in the same shares.

    Args:
        counts: images of each sample in each component; both samples hold images.
    """
    from scipy.special import chdtrc  # the survival function of scipy.stats.chi2, which takes longer to import

    expected_share = counts.sum(axis=1).min() / counts.sum()
    is_rare = counts.sum(axis=0) * expected_share < MIN_EXPECTED
    cells = np.concatenate([counts[:, ~is_rare], counts[:, is_rare].sum(axis=1, keepdims=True)], axis=1)
    cells = cells[:, cells.sum(axis=0) > 0]
    expected = np.outer(cells.sum(axis=1), cells.sum(axis=0)) / cells.sum()
    statistic = float(((cells - expected) ** 2 / expected).sum())
    return float(chdtrc(cells.shape[1] - 1, statistic)) if cells.shape[1] > 1 else 1.0
