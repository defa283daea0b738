"""Score numbers in the shape in which the page draws them."""

from typing import Any

_SHOWN = ("accuracy", "accuracy_same_split", "hungarian", "nmi", "ari")


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


def dependence_rows(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what pairs of facets tell about each other: normalised mutual information and its chance level."""
    rows = []
    for pair, found in metrics["selected"]["independence"].items():
        first, second = (int(facet.removeprefix("facet_")) for facet in pair.split("-"))
        rows.append({"first": first, "second": second, **found})
    return rows


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
