"""Whether this checkout is as fast as another one: the same benchmarks in both, by turns, in the same run.

python -m benchmarks.against PATH [--rounds N] [NAME ...]

The other checkout, of an earlier commit say, needs an environment of its own (``make .venv/.ready``). Compared are the
lines that both have. Nothing is written there; the result is ``results/against.json``.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from benchmarks.lines import RESULTS
from benchmarks.machine import describe_machine

_NAMES = ("training", "convolution", "assign", "ingest", "publish", "startup", "repository")
_HERE = Path(__file__).parents[1]
_MEASURE = """
import json, sys
from dataclasses import asdict
from importlib import import_module
lines = import_module("benchmarks." + sys.argv[1]).measure(False)
print(json.dumps([asdict(line) for line in lines]))
"""


def main() -> None:
    """Measure both by turns, print the ratio of each line and write all of them down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.against")
    parser.add_argument("path", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(_NAMES))
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    other = arguments.path.resolve()
    lines = [line for name in arguments.names or _NAMES for line in _compare(name, other, arguments.rounds)]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=other, check=True, capture_output=True, text=True).stdout
    result = {
        "command": f"python -m benchmarks.against (a checkout of {commit[:12]})",
        "rounds": arguments.rounds,
        "lines": lines,
        "machine": describe_machine(),
    }
    (RESULTS / "against.json").write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")


def _compare(name: str, other: Path, rounds: int) -> list[dict[str, object]]:
    seconds: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for number in range(rounds):
        for side in (0, 1) if number % 2 else (1, 0):  # neither always comes first
            for line, taken in _measure(name, (_HERE, other)[side]).items():
                seconds[line][side].append(taken)
    found: list[dict[str, object]] = []
    for line, (ours, theirs) in seconds.items():
        if ours and theirs:
            ratio = statistics.median(ours) / statistics.median(theirs)
            print(f"{name:12} {line:48} {ratio:6.3f}   {min(ours):.4g} s against {min(theirs):.4g} s", flush=True)
            found.append({"benchmark": name, "line": line, "ratio": round(ratio, 4), "seconds": ours, "other": theirs})
    return found


def _measure(name: str, root: Path) -> dict[str, float]:
    python = str(root / ".venv" / "bin" / "python")
    done = subprocess.run([python, "-c", _MEASURE, name], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name} failed in {root}:\n{done.stderr}")
    return {line["name"]: line["seconds"] for line in json.loads(done.stdout.splitlines()[-1])}


if __name__ == "__main__":
    main()
