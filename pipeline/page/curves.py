"""Training curves in the shape in which the page draws them."""

import csv
from pathlib import Path
from typing import Any

from pipeline.core.errors import DataError

_KEYS = ("seed", "epoch", "phase", "split")
_MAX_POINTS = 400


def read_curves(path: Path) -> dict[str, Any]:
    """Return the curves of ``history.csv`` by seed and split, thinned to at most 400 epochs each.

    Raises:
        DataError: the file is missing or lacks a column.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or ())
            rows = list(reader)
    except FileNotFoundError:
        raise DataError(f"{path} is missing; run stage train") from None
    missing = [key for key in _KEYS if key not in columns]
    if missing:
        raise DataError(f"{path} must have the column {missing[0]}, got {', '.join(columns)}; run stage train again")
    terms = [column for column in columns if column not in _KEYS]
    groups: dict[tuple[int, str], list[dict[str, str]]] = {}
    for row in rows:
        groups.setdefault((int(row["seed"]), row["split"]), []).append(row)
    return {"terms": terms, "series": [_series(*key, group, terms) for key, group in sorted(groups.items())]}


def add_accuracies(curves: dict[str, Any], epochs: dict[str, Any], of: str) -> dict[str, Any]:
    """Return curves that also have accuracies, as terms ``accuracy_<facet>_<factor>`` of the series of their images.

    Args:
        curves: of :func:`read_curves`.
        epochs: section of ``metrics.json``: by factor, facet and seed one accuracy an epoch, None where there is none.
        of: the images' split; ``test`` has no other curves.
    """
    courses = {
        f"accuracy_{facet.removeprefix('facet_')}_{factor}": seeds
        for factor, facets in epochs.items()
        for facet, seeds in facets.items()
    }

    def with_courses(series: dict[str, Any]) -> dict[str, Any]:
        own = {term: seeds.get(str(series["seed"]), []) for term, seeds in courses.items()}
        is_watched = series["split"] == of
        added = {
            term: [course[epoch] if is_watched and epoch < len(course) else None for epoch in series["epoch"]]
            for term, course in own.items()
        }
        return series | {"values": series["values"] | added}

    all_series = curves["series"]
    if of == "test" and courses:
        all_series = [one for series in all_series for one in (series, _without_terms(series, of))]
    return {"terms": [*curves["terms"], *courses], "series": [with_courses(series) for series in all_series]}


def _without_terms(series: dict[str, Any], split: str) -> dict[str, Any]:
    unknown = {term: [None] * len(series["epoch"]) for term in series["values"]}
    return {**series, "split": split, "values": unknown}


def _series(seed: int, split: str, rows: list[dict[str, str]], terms: list[str]) -> dict[str, Any]:
    step = -(-len(rows) // _MAX_POINTS)
    kept = [row for index, row in enumerate(rows) if index % step == 0 or index == len(rows) - 1]
    return {
        "seed": seed,
        "split": split,
        "epoch": [int(row["epoch"]) for row in kept],
        "phase": [int(row["phase"]) for row in kept],
        "values": {term: [_number(row[term]) for row in kept] for term in terms},
    }


def _number(text: str) -> float | None:
    """Return a number for JSON: an empty field, or what a diverged seed wrote, leaves a gap in the curve."""
    value = float(text) if text else float("nan")
    return float(f"{value:.6g}") if abs(value) < float("inf") else None
