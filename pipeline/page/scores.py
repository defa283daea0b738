"""Score numbers in the shape in which the page draws them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int64

from pipeline.core.contingency import (
    expected_mutual_information,
    mutual_information,
    normalised_mutual_information,
)

_SHOWN = ("accuracy", "accuracy_same_split", "accuracy_paper", "hungarian", "nmi", "ari")


def score_rows(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one row a facet and factor: every score with its spread over seeds, chance level and baselines.

    Args:
        metrics: content of ``metrics.json``; without labels there are no rows.
    """
    rows = []
    for facet, tree in metrics["selected"]["facets"].items():
        for factor, selected in tree["factors"].items():
            shown = [name for name in _SHOWN if selected[name] is not None]
            rows.append(
                {
                    "facet": int(facet.removeprefix("facet_")),
                    "factor": factor,
                    "n_classes": metrics["classes"][factor],
                    "scores": {name: _score(metrics, facet, factor, name) for name in shown},
                    "over_kmeans": _difference(metrics, facet, factor),
                }
            )
    return rows


def dependence_rows(crosses: Mapping[tuple[int, int], Int64[np.ndarray, "component other"]]) -> list[dict[str, Any]]:
    """Return what pairs of facets tell about each other: normalised mutual information and its chance level.

    Args:
        crosses: by pair of facets how many images lie in each pair of their components; those without images are left
            out.
    """
    return [
        {
            "first": first,
            "second": second,
            "images": int(counts.sum()),
            "mutual_information": mutual_information(counts),
            "normalised": normalised_mutual_information(counts),
            "chance": expected_mutual_information(counts),
        }
        for (first, second), counts in crosses.items()
        if counts.any()
    ]


def _score(metrics: dict[str, Any], facet: str, factor: str, name: str) -> dict[str, Any]:
    def at(tree: dict[str, Any]) -> Any:
        return tree["facets"][facet]["factors"][factor][name]

    methods = metrics["baselines"].get(facet, {})
    return {
        "selected": at(metrics["selected"]),
        "mean": at(metrics["mean"]),
        "std": at(metrics["std"]),
        "by_seed": {seed: at(tree) for seed, tree in metrics["seeds"].items()},
        "chance": metrics["chance"][facet][factor].get(name),
        "baselines": {method: methods[method][factor][name] for method in ("kmeans", "mixture") if method in methods},
    }


def _difference(metrics: dict[str, Any], facet: str, factor: str) -> dict[str, Any] | None:
    return metrics["baselines"].get(facet, {}).get("selected_minus_kmeans", {}).get(factor)
