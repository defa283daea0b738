"""How well clusters follow labels while the model is being trained (paper, Fig. 12 and 18 to 20).

Training keeps the clusters of some held-out images after every epoch; labels meet them here, afterwards.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.contingency import contingency
from pipeline.core.errors import DataError
from pipeline.evaluation.accuracy import accuracy_same_split
from pipeline.evaluation.keys import facet_key
from pipeline.evaluation.labels import Factor

_DIGITS = 5


def accuracy_by_epoch(model_dir: Path, factors: Mapping[str, Factor]) -> dict[str, Any]:
    """Return by factor, facet and seed one accuracy an epoch: components mapped on these held-out images themselves.

    Args:
        model_dir: output folder of stage train.
        factors: the labels.

    Returns:
        Nothing for factors without a label among these images.

    Raises:
        DataError: the file with the clusters is missing.
    """
    rows, seeds = _read(model_dir / "epochs.npz")
    found: dict[str, Any] = {}
    for name, factor in factors.items():
        labels = factor.train[rows]
        if (labels >= 0).any():
            n_facets = max(clusters.shape[1] for clusters in seeds.values())
            found[name] = {
                facet_key(j): {seed: _course(clusters[:, j], labels, factor) for seed, clusters in seeds.items()}
                for j in range(n_facets)
            }
    return found


def _read(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    try:
        with np.load(path) as stored:
            seeds = {name.removeprefix("seed_"): stored[name] for name in stored.files if name.startswith("seed_")}
            return stored["rows"], seeds
    except FileNotFoundError:
        raise DataError(f"{path} is missing; run stage train") from None


def _course(clusters: np.ndarray, labels: np.ndarray, factor: Factor) -> list[float]:
    n_components = int(clusters.max(initial=0)) + 1
    tables = [contingency(ids, labels, n_components, factor.n_classes) for ids in clusters]
    return [round(accuracy_same_split(table), _DIGITS) for table in tables]
