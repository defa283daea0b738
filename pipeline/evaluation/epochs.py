"""How well clusters follow labels while the model is being trained (paper, Fig. 12 and 18 to 20).

Training keeps the clusters of some images that it never sees after every epoch; labels meet them here, afterwards.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.core.contingency import contingency
from pipeline.core.errors import DataError
from pipeline.evaluation.accuracy import accuracy_same_split
from pipeline.evaluation.keys import facet_key
from pipeline.evaluation.labels import Factor

_DIGITS = 5


@dataclass(frozen=True)
class Courses:
    """How the clusters of some images followed labels, epoch by epoch.

    Attributes:
        of: ``validation``, images held out of the training split, or ``test``, images of that split.
        accuracies: by factor, facet and seed one accuracy an epoch, None before the facet joined: components mapped on
            these images themselves. Factors without a label among them are left out.
    """

    of: Literal["validation", "test"]
    accuracies: dict[str, dict[str, dict[str, list[float | None]]]]


def accuracy_by_epoch(model_dir: Path, factors: Mapping[str, Factor]) -> Courses:
    """Let the clusters that training kept meet labels.

    Args:
        model_dir: output folder of stage train.
        factors: the labels.

    Raises:
        DataError: the file with the clusters is missing.
    """
    is_test, rows, seeds = _read(model_dir / "epochs.npz")
    found: dict[str, Any] = {}
    for name, factor in factors.items():
        labels = (factor.test if is_test else factor.train)[rows]
        if (labels >= 0).any():
            n_facets = max(clusters.shape[1] for clusters in seeds.values())
            found[name] = {
                facet_key(j): {seed: _course(clusters[:, j], labels, factor) for seed, clusters in seeds.items()}
                for j in range(n_facets)
            }
    return Courses("test" if is_test else "validation", found)


def _read(path: Path) -> tuple[bool, np.ndarray, dict[str, np.ndarray]]:
    try:
        with np.load(path) as stored:
            seeds = {name.removeprefix("seed_"): stored[name] for name in stored.files if name.startswith("seed_")}
            return str(stored["split"]) == "test", stored["rows"], seeds
    except FileNotFoundError:
        raise DataError(f"{path} is missing; run stage train") from None


def _course(clusters: np.ndarray, labels: np.ndarray, factor: Factor) -> list[float | None]:
    n_components = int(clusters.max(initial=0)) + 1
    return [
        round(accuracy_same_split(contingency(ids, labels, n_components, factor.n_classes)), _DIGITS)
        if (ids >= 0).all()
        else None
        for ids in clusters
    ]
