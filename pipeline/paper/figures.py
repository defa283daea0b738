"""All figures of a folder with paper results: pictures as PNG, charts as SVG."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from statistics import fmean, stdev
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
        with np.load(folder / f"{tables['experiment']}.npz") as pictures:
            written += write_figures(dict(pictures), tables, figures)
    charts = {
        "figure_10_stability": spread_chart("Accuracy over seeds", "accuracy, as in the paper", _stability(results)),
        "figure_12_generalisation": spread_chart(
            "Training and test split", "accuracy, same split", _generalisation(results)
        ),
    }
    for tables in results:
        for factor, facets in tables["epochs"].items():
            images = {"validation": "held-out images", "test": "test images"}[tables["epochs_of"]]
            n_seeds = len(next(iter(facets.values())))
            title = f"{tables['experiment']}: {factor} on {images}, mean ± deviation of {n_seeds} seeds"
            chart = curve_chart(title, "epoch", "accuracy", _courses(facets))
            charts[f"figure_12_epochs_{tables['experiment']}_{factor}"] = chart
    for name, chart in charts.items():
        write_svg(figures / f"{name}.svg", chart)
        written.append(figures / f"{name}.svg")
    return written


def _courses(facets: dict[str, dict[str, list[float | None]]]) -> list[Curve]:
    """Return a curve a facet, from the epoch on in which it joined: the mean over the seeds that reached an epoch."""
    curves = []
    for facet, seeds in facets.items():
        runs = [
            [(epoch, value) for epoch, value in enumerate(course) if value is not None] for course in seeds.values()
        ]
        by_epoch: dict[int, list[float]] = {}
        for epoch, value in chain.from_iterable(runs):
            by_epoch.setdefault(epoch, []).append(value)
        values = [by_epoch[epoch] for epoch in sorted(by_epoch)]
        curves.append(
            Curve(
                facet.replace("_", " "),
                sorted(by_epoch),
                [fmean(each) for each in values],
                [stdev(each) if len(each) > 1 else 0.0 for each in values],
                [([epoch for epoch, _ in run], [value for _, value in run]) for run in runs],
            )
        )
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
