"""Charts of the paper's kind as SVG files: spread over seeds (Fig. 10), scores over epochs (Fig. 12)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from pipeline.core.storage import atomic_file

_COLOURS = ("#0b6b7d", "#b1470b", "#6236c4", "#7a5f00", "#a61e57", "#2b6e2f")
_WIDTH = 640.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 190.0, 24.0, 40.0, 44.0
_ROW = 38.0
_PLOT_HEIGHT = 260.0
_STYLE = "font: 13px system-ui, sans-serif; background: #fff"


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
    """One line of a curve chart; ``y`` may lack values (None)."""

    label: str
    x: Sequence[int | float]
    y: Sequence[float | None]


def spread_chart(title: str, axis: str, spreads: Sequence[Spread]) -> str:
    """Return an SVG with one row a measurement: every seed as a dot, mean ± deviation as a bar, chance as a tick."""
    values = [value for spread in spreads for value in (*spread.values, spread.mean, spread.chance or spread.mean)]
    scale = _Scale.of(values, _LEFT, _WIDTH - _RIGHT)
    height = _TOP + _ROW * len(spreads) + _BOTTOM
    parts = _frame(title, axis, scale, height)
    for row, spread in enumerate(spreads):
        y, colour = _TOP + _ROW * (row + 0.5), _COLOURS[row % len(_COLOURS)]
        parts.append(f'<text x="{_LEFT - 12}" y="{y + 4:.1f}" text-anchor="end">{escape(spread.label)}</text>')
        if spread.std is not None:
            low, high = scale.at(spread.mean - spread.std), scale.at(spread.mean + spread.std)
            parts.append(f'<path d="M{low:.1f} {y:.1f}H{high:.1f}" stroke="{colour}" stroke-width="3" opacity=".45"/>')
        if spread.chance is not None:
            parts.append(
                f'<path d="M{scale.at(spread.chance):.1f} {y - 11:.1f}v22" stroke="#a8201a" stroke-width="2"/>'
            )
        dots = [f'<circle cx="{scale.at(value):.1f}" cy="{y:.1f}" r="4"/>' for value in spread.values]
        parts.append(f'<g fill="{colour}" fill-opacity=".55">{"".join(dots)}</g>')
        parts.append(f'<path d="M{scale.at(spread.mean):.1f} {y - 8:.1f}v16" stroke="{colour}" stroke-width="3"/>')
    return _document(parts, height)


def curve_chart(title: str, x_axis: str, y_axis: str, curves: Sequence[Curve]) -> str:
    """Return an SVG with lines over a common axis and their names below it."""
    across = _Scale.of([x for curve in curves for x in curve.x], _LEFT // 3, _WIDTH - _RIGHT)
    known = [y for curve in curves for y in curve.y if y is not None]
    up = _Scale.of(known, _TOP + _PLOT_HEIGHT, _TOP)
    height = _TOP + _PLOT_HEIGHT + _BOTTOM + 20 * len(curves)
    parts = _frame(title, x_axis, across, _TOP + _PLOT_HEIGHT + _BOTTOM)
    for value in up.ticks():
        y = up.at(value)
        parts.append(f'<path d="M{_LEFT // 3} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#e3e6eb"/>')
        parts.append(f'<text x="{_LEFT // 3 - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    parts.append(f'<text x="8" y="{_TOP - 8}">{escape(y_axis)}</text>')
    for number, curve in enumerate(curves):
        colour = _COLOURS[number % len(_COLOURS)]
        below = _TOP + _PLOT_HEIGHT + _BOTTOM + 20 * number + 8
        parts.append(f'<path d="{_path(curve, across, up)}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<path d="M{_LEFT // 3} {below}h22" stroke="{colour}" stroke-width="3"/>')
        parts.append(f'<text x="{_LEFT // 3 + 30}" y="{below + 4}">{escape(curve.label)}</text>')
    return _document(parts, height)


def write_svg(path: Path, document: str) -> None:
    """Write a chart atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(document, encoding="utf-8")


@dataclass(frozen=True)
class _Scale:
    """A linear axis from data to pixels, with room at both ends."""

    low: float
    high: float
    start: float
    stop: float

    @classmethod
    def of(cls, values: Sequence[int | float], start: float, stop: float) -> "_Scale":
        low, high = (float(min(values)), float(max(values))) if values else (0.0, 1.0)
        room = 0.05 * (high - low) or 0.5
        return cls(low - room, high + room, start, stop)

    def at(self, value: int | float) -> float:
        """Return the pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)

    def ticks(self) -> list[float]:
        """Return round values, about five."""
        rough = (self.high - self.low) / 5
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
        first = math.ceil(self.low / step)
        return [round(n * step, 12) for n in range(first, math.floor(self.high / step) + 1)]


def _frame(title: str, axis: str, scale: _Scale, height: float) -> list[str]:
    parts = [f'<text x="8" y="20" font-weight="600" font-size="15">{escape(title)}</text>']
    for value in scale.ticks():
        x = scale.at(value)
        parts.append(f'<path d="M{x:.1f} {_TOP}V{height - _BOTTOM}" stroke="#e3e6eb"/>')
        parts.append(f'<text x="{x:.1f}" y="{height - _BOTTOM + 18}" text-anchor="middle">{value:g}</text>')
    middle = (scale.start + scale.stop) / 2
    parts.append(f'<text x="{middle:.1f}" y="{height - 8}" text-anchor="middle" fill="#4a5361">{escape(axis)}</text>')
    return parts


def _path(curve: Curve, across: _Scale, up: _Scale) -> str:
    commands, is_down = [], False
    for x, y in zip(curve.x, curve.y, strict=True):
        if y is not None:
            commands.append(f"{'L' if is_down else 'M'}{across.at(x):.1f} {up.at(y):.1f}")
        is_down = y is not None
    return "".join(commands)


def _document(parts: list[str], height: float) -> str:
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" style="{_STYLE}">'
    )
    return "\n".join([opening, *parts, "</svg>"]) + "\n"
