"""Numbers that others report, to stand beside ours; never mixed with them.

Accuracies as fractions. Source of all: the paper (section 4.3, tables 1, 2 and 7, appendix E.2), which took the other
methods' rows from their own papers.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ReportedAccuracy:
    """Clustering accuracy on the test split, mapped on the test split itself, as reported by others.

    Attributes:
        method: name in the paper's table 2.
        source: dataset.
        factor: label factor.
        mean: over runs, or of the best run.
        std: sample standard deviation over runs; None where only the best of several runs is reported.
        facets: whether the method finds one clustering or several.
        is_generative: whether it can draw images.
        note: what else one must know to compare.
    """

    method: str
    source: str
    factor: str
    mean: float
    std: float | None
    facets: Literal["single", "multi"]
    is_generative: bool
    note: str = ""


_BEST_OF_20 = "best of 20 runs"
_BEST_OF_10 = "best of 10 runs"
_FIRST = "configuration 1"
_SECOND = "configuration 2"

REPORTED_ACCURACIES = (
    ReportedAccuracy("DEC", "mnist", "digit", 0.843, None, "single", False, _BEST_OF_20),
    ReportedAccuracy("DEC", "svhn", "digit", 0.119, 0.004, "single", False),
    ReportedAccuracy("VaDE, dense", "mnist", "digit", 0.9446, None, "single", True, _BEST_OF_10),
    ReportedAccuracy("VaDE, dense", "mnist", "digit", 0.8909, 0.0332, "single", True),
    ReportedAccuracy("VaDE, dense", "svhn", "digit", 0.2703, 0.0153, "single", True),
    ReportedAccuracy("VaDE, convolutional", "mnist", "digit", 0.9265, 0.0114, "single", True),
    ReportedAccuracy("VaDE, convolutional", "svhn", "digit", 0.3080, 0.0199, "single", True),
    ReportedAccuracy("IMSAT", "mnist", "digit", 0.984, 0.004, "single", False),
    ReportedAccuracy("IMSAT", "svhn", "digit", 0.573, 0.039, "single", False),
    ReportedAccuracy("ACOL-GAR", "mnist", "digit", 0.9832, 0.0008, "single", False),
    ReportedAccuracy("ACOL-GAR", "svhn", "digit", 0.7680, 0.0130, "single", False),
    ReportedAccuracy("VLAC", "svhn", "digit", 0.378, 0.022, "multi", True),
    ReportedAccuracy("LTVAE", "mnist", "digit", 0.863, None, "multi", True),
    ReportedAccuracy("MFCVAE, paper", "mnist", "digit", 0.9202, 0.0318, "multi", True),
    ReportedAccuracy("MFCVAE, paper", "svhn", "digit", 0.5625, 0.0093, "multi", True),
    ReportedAccuracy("MFCVAE, paper", "shapes3d", "floor_hue", 0.9946, 0.0110, "multi", True, _FIRST),
    ReportedAccuracy("MFCVAE, paper", "shapes3d", "shape", 0.8847, 0.0182, "multi", True, _FIRST),
    ReportedAccuracy("MFCVAE, paper", "shapes3d", "wall_hue", 1.0, 0.0, "multi", True, _SECOND),
    ReportedAccuracy("MFCVAE, paper", "shapes3d", "shape", 0.9005, 0.0265, "multi", True, _SECOND),
)

KINDRED_SOURCES = {"scenes": "shapes3d"}
"""Sources whose images are made to look like another's: its reported numbers are shown too, under its own name."""


@dataclass(frozen=True)
class ReportedProbe:
    """Test accuracy of a supervised probe in the paper's table 1; facets numbered from 0, ``all`` of them together."""

    source: str
    factor: str
    accuracies: dict[str, float]
    note: str = ""


def _probe(source: str, factor: str, percent: tuple[float, float, float], note: str = "") -> ReportedProbe:
    return ReportedProbe(
        source, factor, dict(zip(("facet_0", "facet_1", "all"), (x / 100 for x in percent), strict=True)), note
    )


REPORTED_PROBES = (
    _probe("mnist", "digit", (17.34, 94.95, 95.27)),
    _probe("svhn", "digit", (69.46, 22.30, 70.39)),
    _probe("shapes3d", "shape", (95.00, 32.43, 95.18), _FIRST),
    _probe("shapes3d", "floor_hue", (20.00, 100.00, 100.00), _FIRST),
    _probe("shapes3d", "shape", (98.26, 24.41, 98.19), _SECOND),
    _probe("shapes3d", "wall_hue", (73.40, 100.00, 99.97), _SECOND),
)


@dataclass(frozen=True)
class ReportedLpips:
    """Mean LPIPS of random pairs in the paper's table 7."""

    method: str
    source: str
    images: Literal["real", "generated"]
    mean: float


REPORTED_LPIPS = (
    ReportedLpips("paper", "mnist", "real", 0.112),
    ReportedLpips("VaDE, paper", "mnist", "generated", 0.111),
    ReportedLpips("MFCVAE, paper", "mnist", "generated", 0.116),
    ReportedLpips("paper", "svhn", "real", 0.227),
    ReportedLpips("VaDE, paper", "svhn", "generated", 0.187),
    ReportedLpips("MFCVAE, paper", "svhn", "generated", 0.182),
)
