"""All figures of a folder with paper results: pictures as PNG, charts as SVG."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from pipeline.core.storage import read_json
from pipeline.paper.charts import Curve, Spread, curve_chart, spread_chart, write_svg
from pipeline.paper.pictures import write_figures


def write_paper_figures(folder: Path) -> list[Path]:
    """Draw what ``write_paper`` left in a folder, into its folder ``figures``.

    Per experiment the examples, samples and swaps of every facet (Fig. 4, 5 and 6); over all experiments the spread of
    accuracies over seeds (Fig. 10), training against test split, and accuracy over epochs (Fig. 12).

    Returns:
        The files written.

    Raises:
        DataError: a result file is damaged.
        ResourceError: the folder cannot be written.
    """
    figures = folder / "figures"
    results = [read_json(path) for path in sorted(folder.glob("*.json"))]
    written: list[Path] = []
    for tables in results:
        name = tables["experiment"]
        with np.load(folder / f"{name}.npz") as pictures:
            written += write_figures(dict(pictures), figures, name)
    charts = {
        "figure_10_stability": spread_chart("Accuracy over seeds", "accuracy, as in the paper", _stability(results)),
        "figure_12_generalisation": spread_chart(
            "Training and test split", "accuracy, same split", _generalisation(results)
        ),
    }
    for tables in results:
        for factor, facets in tables["epochs"].items():
            title = (
                f"{tables['experiment']}: {factor} on held-out images, mean of {len(next(iter(facets.values())))} seeds"
            )
            chart = curve_chart(title, "epoch", "accuracy", _courses(facets))
            charts[f"figure_12_epochs_{tables['experiment']}_{factor}"] = chart
    for name, chart in charts.items():
        write_svg(figures / f"{name}.svg", chart)
        written.append(figures / f"{name}.svg")
    return written


def _courses(facets: dict[str, dict[str, list[float]]]) -> list[Curve]:
    """Return a curve a facet: the mean over the seeds that reached an epoch."""
    curves = []
    for facet, seeds in facets.items():
        n_epochs = max(map(len, seeds.values()))
        known = [[course[epoch] for course in seeds.values() if epoch < len(course)] for epoch in range(n_epochs)]
        curves.append(Curve(facet.replace("_", " "), range(n_epochs), [fmean(values) for values in known]))
    return curves


def _stability(results: Sequence[dict[str, Any]]) -> list[Spread]:
    rows = []
    for tables in results:
        for factor, found in tables["accuracy"].items():
            spread, chance = found["spread"], found["mean"]["chance"]["accuracy_paper"]
            values = list(spread["by_seed"].values())
            rows.append(Spread(f"{tables['experiment']}: {factor}", values, spread["mean"], spread["std"], chance))
    return rows


def _generalisation(results: Sequence[dict[str, Any]]) -> list[Spread]:
    rows = []
    for tables in results:
        for factor, found in tables["accuracy"].items():
            for split, key in (("train", "accuracy_same_split_train"), ("test", "accuracy_same_split")):
                if found["mean"][key] is None:  # scores of an earlier release
                    continue
                label = f"{tables['experiment']}: {factor}, {split}"
                rows.append(Spread(label, [found["selected"][key]], found["mean"][key], found["std"][key]))
    return rows
