"""Whether this checkout is as fast as another one: the same benchmarks in both, by turns, in the same run.

python -m benchmarks.against PATH [--rounds N] [NAME ...]

The other checkout, of an earlier commit say, needs an environment of its own (``make .venv/.ready``). Compared are the
lines that both have, by their time and by their time over their floor, which what else a machine does moves less.
Nothing is written there; a line a benchmark is appended to ``results/against.jsonl``, as soon as it is measured.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from benchmarks.lines import write_run

_NAMES = ("training", "convolution", "assign", "ingest", "publish", "startup", "repository")
_HERE = Path(__file__).parents[1]
_Figures = tuple[float, float]
"""Seconds, and these over the floor's."""

_MEASURE = """
import json, sys
from dataclasses import asdict
from importlib import import_module
lines = import_module("benchmarks." + sys.argv[1]).measure(False)
print(json.dumps([asdict(line) for line in lines]))
"""


def main() -> None:
    """Measure both by turns, print the ratio of each line and write them down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.against")
    parser.add_argument("path", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(_NAMES))
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    other = arguments.path.resolve()
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=other, check=True, capture_output=True, text=True).stdout
    for name in arguments.names or _NAMES:
        command = f"python -m benchmarks.against PATH {name} --rounds {arguments.rounds}"
        lines = _compare(name, other, arguments.rounds)
        write_run("against", {"benchmark": name, "command": command, "other": commit[:12], "lines": lines})


def _compare(name: str, other: Path, rounds: int) -> list[dict[str, object]]:
    figures: dict[str, tuple[list[_Figures], list[_Figures]]] = defaultdict(lambda: ([], []))
    for number in range(rounds):
        for side in (0, 1) if number % 2 else (1, 0):  # neither always comes first
            for line, found in _measure(name, (_HERE, other)[side]).items():
                figures[line][side].append(found)
    lines: list[dict[str, object]] = []
    for line, (ours, theirs) in figures.items():
        if ours and theirs:
            time, over_floor = _ratio(ours, theirs, 0), _ratio(ours, theirs, 1)
            print(f"{name:12} {line:48} {time:6.3f} of the time, {over_floor:6.3f} over the floor", flush=True)
            lines.append({"line": line, "time": time, "over_floor": over_floor})
            lines[-1] |= {"seconds": [one[0] for one in ours], "other_seconds": [one[0] for one in theirs]}
    return lines


def _ratio(ours: list[_Figures], theirs: list[_Figures], place: int) -> float:
    return round(statistics.median(one[place] for one in ours) / statistics.median(one[place] for one in theirs), 4)


def _measure(name: str, root: Path) -> dict[str, _Figures]:
    python = str(root / ".venv" / "bin" / "python")
    done = subprocess.run([python, "-c", _MEASURE, name], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name} failed in {root}:\n{done.stderr}")
    return {line["name"]: (line["seconds"], line["ratio"]) for line in json.loads(done.stdout.splitlines()[-1])}


if __name__ == "__main__":
    main()
