"""The files of stage score: all numbers, the few for ``dvc metrics show``, and CSVs for ``dvc plots show``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.storage import write_json
from pipeline.evaluation.accuracy import majority_map
from pipeline.evaluation.agreement import tables
from pipeline.evaluation.keys import facet_key
from pipeline.evaluation.score import Score
from pipeline.evaluation.tabular import write_csv

_SCORES = ("accuracy", "accuracy_same_split", "accuracy_same_split_train", "accuracy_paper", "hungarian", "nmi", "ari")
_CHANCE = ("accuracy", "accuracy_same_split", "accuracy_paper", "hungarian")
_COLUMNS = (*_SCORES, *(f"chance_{name}" for name in _CHANCE))


def write_score(score: Score, folder: Path) -> None:
    """Write metrics and plot data into a folder.

    - ``metrics.json``: everything, nested.
    - ``summary.json``: the accuracies that fit on a screen.
    - ``accuracy_by_seed.csv``: one row a seed, facet and factor.
    - ``accuracy_by_epoch.csv``: one row an epoch, seed, facet that has joined, and factor, on images held out of
      training, or of the test split where none are.
    - ``facet_factor.csv``: one row a facet, factor and method: the selected seed, its groups and the baselines.
    - ``confusion.csv``: test images of the selected seed by facet, factor, cluster, predicted and true label value.

    Without labels the CSVs have a header and no rows. An empty field is a number that does not apply.
    """
    write_json(folder / "metrics.json", score.metrics)
    write_json(folder / "summary.json", summary(score.metrics))
    write_csv(folder / "accuracy_by_seed.csv", ("seed", "facet", "factor", *_COLUMNS), _rows_by_seed(score.metrics))
    columns = ("epoch", "seed", "facet", "factor", "accuracy")
    write_csv(folder / "accuracy_by_epoch.csv", columns, _rows_by_epoch(score.metrics))
    write_csv(folder / "facet_factor.csv", ("facet", "factor", "method", *_COLUMNS), _rows_by_method(score.metrics))
    columns = ("facet", "factor", "cluster_id", "predicted", "label", "count")
    write_csv(folder / "confusion.csv", columns, _confusion_rows(score))


def summary(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return for every facet what one looks at first: clusters in use, and accuracy beside chance and k-means."""
    return {
        facet: {
            "occupied": tree["occupied"],
            "confidence": tree["confidence"],
            **{factor: _summary_of(metrics, facet, factor) for factor in tree["factors"]},
        }
        for facet, tree in metrics["selected"]["facets"].items()
    }


def _summary_of(metrics: dict[str, Any], facet: str, factor: str) -> dict[str, Any]:
    found = {
        part: metrics[part]["facets"][facet]["factors"][factor]["accuracy"] for part in ("selected", "mean", "std")
    }
    found["chance"] = metrics["chance"][facet][factor]["accuracy"]
    if metrics["baselines"]:
        found["kmeans"] = metrics["baselines"][facet]["kmeans"][factor]["accuracy"]
    return found


def _rows_by_seed(metrics: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    for seed, tree in metrics["seeds"].items():
        for facet, facet_tree in tree["facets"].items():
            for factor, scores in facet_tree["factors"].items():
                yield (seed, facet, factor, *_values(scores))


def _rows_by_epoch(metrics: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    for factor, facets in metrics["epochs"].items():
        for facet, seeds in facets.items():
            for seed, course in seeds.items():
                for epoch, accuracy in enumerate(course):
                    if accuracy is not None:
                        yield epoch, seed, facet, factor, accuracy


def _rows_by_method(metrics: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    for facet, facet_tree in metrics["selected"]["facets"].items():
        for factor, scores in facet_tree["factors"].items():
            yield (facet, factor, "model", *_values(scores))
            if metrics["groups"]:
                yield (facet, factor, "groups", *_values(metrics["groups"][facet]["factors"][factor]))
            for method in ("kmeans", "mixture"):
                if metrics["baselines"]:
                    yield (facet, factor, method, *_values(metrics["baselines"][facet][method][factor]))


def _values(scores: dict[str, Any]) -> list[float | None]:
    return [scores[name] for name in _SCORES] + [scores["chance"][name] for name in _CHANCE]


def _confusion_rows(score: Score) -> Iterator[tuple[Any, ...]]:
    for j, clusters in enumerate(score.clusters):
        for name, factor in score.factors.items():
            train, test = tables(clusters, factor)
            mapping = majority_map(train)
            for component, label in np.argwhere(test > 0).tolist():
                predicted, value = int(factor.values[mapping[component]]), int(factor.values[label])
                yield facet_key(j), name, component, predicted, value, int(test[component, label])
