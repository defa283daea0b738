"""What every benchmark gives: lines, each a time against a floor that was timed alternately in the same run.

A benchmark is a module of this folder that holds

    def measure(full: bool) -> list[Line]: ...

    if __name__ == "__main__":
        report(measure)

and stands in ``SUITE`` of ``benchmarks/__main__.py``, with what it needs beyond the packages if anything. Then
``python -m benchmarks.NAME [--full]`` prints its lines and appends them to ``results/NAME.jsonl``, and ``make bench``
runs it with the others. A floor is the hardware's own rate, or a plain implementation of the same work, never a number
from elsewhere. Without ``full`` a module takes at most 45 seconds on two cores.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe_machine

RESULTS = Path(__file__).parent / "results"

Side = Callable[[], object]
"""One of the two things compared; what it returns is ignored."""


@dataclass(frozen=True)
class Line:
    """One figure.

    Attributes:
        name: what was timed, unique within its module.
        floor: what it is held against, in words.
        seconds: median time of a call.
        floor_seconds: median time of the floor.
        ratio: median over the rounds of time over floor: 1 is the limit, 2 takes twice as long.
        spread: lower and upper quartile of that ratio.
        rounds: how often both were timed.
        items: images, rows or requests of a call, 0 where a rate says nothing.
        more: other figures of the same run, such as memory.
    """

    name: str
    floor: str
    seconds: float
    floor_seconds: float
    ratio: float
    spread: tuple[float, float]
    rounds: int
    items: int = 0
    more: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        rate = f"{self.items / self.seconds:14,.0f}/s" if self.items else " " * 16
        ratio = f"{self.ratio:6.2f} x {self.floor} ({self.spread[0]:.2f}-{self.spread[1]:.2f})"
        return f"{self.name:44} {self.seconds * 1e3:10.2f} ms {rate}   {ratio}"


def compare(
    name: str, ours: Side, floor: Side, against: str, *, rounds: int = 7, items: int = 0, warm: bool = True
) -> Line:
    """Time both sides alternately.

    Args:
        name: of the line.
        ours: the work.
        floor: what it is held against.
        against: the floor in words.
        rounds: how often; an odd number.
        items: images, rows or requests of a call.
        warm: run both once before.
    """
    if warm:
        ours()
        floor()
    times = [(time_of(ours), time_of(floor)) for _ in range(rounds)]
    return line_of(name, [pair[0] for pair in times], [pair[1] for pair in times], against, items=items)


def line_of(name: str, seconds: Sequence[float], floor: Sequence[float], against: str, *, items: int = 0) -> Line:
    """Return the line of times taken elsewhere, in pairs."""
    low, ratio, high = np.quantile(np.divide(seconds, floor), (0.25, 0.5, 0.75)).round(4).tolist()
    medians = float(np.median(seconds)), float(np.median(floor))
    return Line(name, against, *medians, ratio, (low, high), len(seconds), items)


def time_of(side: Side) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    side()
    return time.perf_counter() - start


def write_run(name: str, found: Mapping[str, Any]) -> None:
    """Print one training or run of a study and append it to its file of results, with the machine that it ran on."""
    print(json.dumps(found), flush=True)
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{name}.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({**found, "machine": describe_machine()}) + "\n")


def report(measure: Callable[[bool], list[Line]]) -> None:
    """Run a module's measurement from the command line: print its lines and append them to its file of results."""
    module = Path(sys.argv[0]).stem
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{module}")
    parser.add_argument("--full", action="store_true", help="longer, closer")
    is_full = parser.parse_args().full
    lines = measure(is_full)
    machine = describe_machine()
    command = f"python -m benchmarks.{module}" + " --full" * is_full
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{module}.jsonl").open("a", encoding="utf-8") as file:
        for line in lines:
            print(line, flush=True)
            file.write(json.dumps({**asdict(line), "command": command, "machine": machine}, sort_keys=True) + "\n")
