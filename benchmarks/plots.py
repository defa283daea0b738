"""The page of all measurements: ``docs/benchmarks.html``, drawn from ``benchmarks/results/*.jsonl``.

python -m benchmarks.plots

Each row has a plot of a dot and a line, two lines of SVG: a chart library would write kilobytes into every table cell.
"""

import html
import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

_RESULTS = Path(__file__).parent / "results"  # not by way of lines.py, which loads torch
_PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.html"
_WIDTH, _ROW, _LEFT = 460, 22, 10
_MOST = 32.0  # times the floor; the axis ends here
_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --faint: #6a737d; --bar: #3b7ea1; --paper: #fff; --rule: #d7dce1; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7ea; --faint: #9aa4ae; --bar: #6db3d6; --paper: #15181c; --rule: #343a41; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 72rem;
  margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid var(--rule); vertical-align: middle; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
small { color: var(--faint); }
svg { display: block; } svg .axis { stroke: var(--faint); } svg .range { stroke: var(--bar); stroke-width: 2; }
svg .now { fill: var(--bar); } svg .past { fill: var(--bar); opacity: .25; }
"""


def main() -> None:
    """Write the page."""
    sections = "".join(_section(path) for path in sorted(_RESULTS.glob("*.jsonl")))
    _PAGE.write_text(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Measurements</title>"
        f"<meta name=viewport content='width=device-width'><style>{_STYLE}</style>"
        "<h1>Measurements</h1><p>Every figure is a time over a floor that was timed alternately with it, on the same "
        "machine in the same run: 1 is the limit, 2 is twice as long. The dot is the median, the line the quartiles; "
        f"faint dots are earlier runs. The axis is logarithmic and ends at {_MOST:.0f}.</p>{sections}</html>\n",
        encoding="utf-8",
    )
    print(f"written to {_PAGE.relative_to(_PAGE.parents[1])}")


def _section(path: Path) -> str:
    runs: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for text in path.read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        runs[line["name"]].append(line)
    rows = "".join(_row(name, of_name) for name, of_name in runs.items())
    head = "<tr><th>what<th>median<th>rate<th>times the floor<th><th>floor</tr>"
    latest = next(reversed(runs.values()))[-1]
    machine = latest["machine"]
    where = f"{machine['processor']}, {machine['cores']} cores{', ' + machine['gpu'] if machine['gpu'] else ''}"
    stamp = f"{machine['when'][:10]}, commit {machine['commit'][:8]}, {where}, torch {machine['versions']['torch']}"
    command = f"<code>{html.escape(latest['command'])}</code>"
    return f"<h2>{path.stem}</h2><p><small>{command} · {html.escape(stamp)}</small></p><table>{head}{rows}</table>"


def _row(name: str, runs: list[dict[str, Any]]) -> str:
    latest = runs[-1]
    rate = f"{latest['items'] / latest['seconds']:,.0f}/s" if latest["items"] else ""
    more = "".join(f"<br><small>{html.escape(f'{key}: {value}')}</small>" for key, value in latest["more"].items())
    return (
        f"<tr><td>{html.escape(name)}{more}<td class=number>{_seconds(latest['seconds'])}<td class=number>{rate}"
        f"<td class=number>{latest['ratio']:.2f}<td>{_plot(runs)}<td><small>{html.escape(latest['floor'])}</small></tr>"
    )


def _plot(runs: list[dict[str, Any]]) -> str:
    latest, middle = runs[-1], _ROW / 2
    past = "".join(f"<circle class=past cx={_x(run['ratio']):.0f} cy={middle} r=4 />" for run in runs[:-1])
    low, high = map(_x, latest["spread"])
    return (
        f"<svg width={_WIDTH / 2:.0f} height={_ROW} viewBox='0 0 {_WIDTH / 2:.0f} {_ROW}' role=img "
        f"aria-label='{latest['ratio']:.2f} times the floor'><line class=axis x1={_x(1):.0f} x2={_x(1):.0f} y1=2 "
        f"y2={_ROW - 2} />{past}<line class=range x1={low:.0f} x2={high:.0f} y1={middle} y2={middle} />"
        f"<circle class=now cx={_x(latest['ratio']):.0f} cy={middle} r=4.5 /></svg>"
    )


def _x(ratio: float) -> float:
    """Return the place of a ratio between a quarter and the end of the axis, on a logarithmic scale."""
    share = math.log(min(max(ratio, 0.25), _MOST) / 0.25) / math.log(_MOST / 0.25)
    return _LEFT + share * (_WIDTH / 2 - 2 * _LEFT)


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.2f} ms"


if __name__ == "__main__":
    main()
