"""Charts of the paper's kind as SVG files: spread over seeds (Fig. 10), scores over epochs (Fig. 12)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.core.storage import atomic_file

_STYLE: dict[Any, Any] = {
    "text.parse_math": False,  # names of factors are people's own, and may hold dollar signs
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "facets",  # equal charts are equal files
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.4,
}
_WIDTH, _ROW, _PLOT = 7.0, 0.4, 3.0  # inches


@dataclass(frozen=True)
class Spread:
    """One row of a spread chart.

    Attributes:
        label: what was measured.
        values: one a seed.
        mean: of the values.
        std: sample deviation; None for a single seed.
        chance: level without knowledge; None where there is none.
    """

    label: str
    values: Sequence[float]
    mean: float
    std: float | None
    chance: float | None = None


@dataclass(frozen=True)
class Curve:
    """One line of a curve chart.

    Attributes:
        label: what was measured.
        x: where.
        y: the mean of the runs.
        std: their sample deviation, 0 where there is one.
        runs: each by itself, as places and values.
    """

    label: str
    x: Sequence[int | float]
    y: Sequence[float]
    std: Sequence[float]
    runs: Sequence[tuple[Sequence[int | float], Sequence[float]]]


@rc_context(_STYLE)
def spread_chart(title: str, axis: str, spreads: Sequence[Spread]) -> Figure:
    """Return a chart with one row a measurement: every seed as a dot, mean ± deviation as a bar, chance as a tick."""
    figure, axes = _figure(title, axis, _ROW * len(spreads))
    for row, spread in enumerate(spreads):
        colour = f"C{row % 10}"
        axes.plot(spread.values, [row] * len(spread.values), "o", color=colour, alpha=0.5)
        axes.errorbar(spread.mean, row, xerr=spread.std, fmt="|", color=colour, markersize=14, markeredgewidth=3)
        if spread.chance is not None:
            axes.plot(spread.chance, row, "|", color="firebrick", markersize=20, markeredgewidth=2)
    axes.set_yticks(range(len(spreads)), [spread.label for spread in spreads])
    axes.set_ylim(len(spreads) - 0.5, -0.5)
    return figure


@rc_context(_STYLE)
def curve_chart(title: str, x_axis: str, y_axis: str, curves: Sequence[Curve]) -> Figure:
    """Return a chart over a common axis: means as lines, ± deviation as a band, every run thin, names beside them."""
    figure, axes = _figure(title, x_axis, _PLOT)
    for number, curve in enumerate(curves):
        colour = f"C{number % 10}"
        low, high = ([y + sign * s for y, s in zip(curve.y, curve.std, strict=True)] for sign in (-1, 1))
        axes.fill_between(curve.x, low, high, color=colour, alpha=0.2, linewidth=0)
        for x, y in curve.runs:
            axes.plot(x, y, color=colour, alpha=0.4, linewidth=0.6)
        axes.plot(curve.x, curve.y, color=colour, label=curve.label)
    axes.set_ylabel(y_axis)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure


@rc_context(_STYLE)
def write_svg(path: Path, chart: Figure) -> None:
    """Write a chart atomically."""
    with atomic_file(path) as temporary:
        chart.savefig(temporary, format="svg", bbox_inches="tight", metadata={"Date": None})


def _figure(title: str, x_axis: str, height: float) -> tuple[Figure, Axes]:
    figure = Figure((_WIDTH, 1 + height))
    axes = figure.add_subplot()
    axes.set_title(title, loc="left")
    axes.set_xlabel(x_axis)
    return figure, axes
