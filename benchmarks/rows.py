"""Time and memory of a whole rebuild on many rows of features: a million of 768 numbers, unless told.

    python -m benchmarks.rows [--rows 1000000] [--width 768]

``facets new`` and ``facets rebuild`` as a person would run them, in a fresh clone of the last commit, on rows of six
times twelve classes, with one seed in place of eight. The memory of the rebuild and all of its processes is looked at
three times a second: what they have for themselves (anonymous), without what the system keeps of files. A line is
appended to ``results/rows.jsonl``. Linux only.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.lines import write_run
from pipeline.tables import read

_HERE = Path(__file__).parents[1]
_NAME = "rows"
_BLOCK = 50_000


def main() -> None:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rows")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=768)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        root, rows = Path(place) / "clone", Path(place) / "rows.npy"
        _write_rows(rows, given.rows, given.width)
        subprocess.run(["git", "clone", "-q", _HERE, root], check=True)
        (root / ".venv").symlink_to(Path(sys.executable).parents[1])
        facets = [str(root / ".venv/bin/python"), "bin/facets"]
        subprocess.run([*facets, "new", _NAME, str(rows), "--no-trial"], cwd=root, check=True, capture_output=True)
        parameters = root / "params.yaml"
        written = parameters.read_text(encoding="utf-8")
        parameters.write_text(re.sub(r"(  rows:\n(?:.*\n)*?    seeds:) .*", r"\1 [0]", written), encoding="utf-8")
        found = _watch([*facets, "rebuild", _NAME, "--json"], root)
        published = len(read(_NAME, "facet_1", columns=["image_id"], root=root))
    setting = {"rows": given.rows, "width": given.width, "mib": round(given.rows * given.width * 4 / 2**20)}
    write_run("rows", {**setting, "published": published, **found})


def _write_rows(path: Path, n_rows: int, width: int) -> None:
    generator = np.random.default_rng(0)
    first, second = (generator.standard_normal((n, width)).astype(np.float32) for n in (6, 12))
    rows = np.lib.format.open_memmap(path, "w+", np.float32, (n_rows, width))
    for start in range(0, n_rows, _BLOCK):
        block = rows[start : start + _BLOCK]
        block[:] = generator.standard_normal(block.shape).astype(np.float32)
        block += 2 * first[generator.integers(6, size=len(block))] + second[generator.integers(12, size=len(block))]


def _watch(command: list[str], root: Path) -> dict[str, Any]:
    """Run a rebuild; return seconds and the most anonymous memory of all its processes."""
    start, most = time.monotonic(), 0
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as rebuild:
        while rebuild.poll() is None:
            most = max(most, sum(map(_anonymous, _family(rebuild.pid))))
            time.sleep(0.3)
        seconds = round(time.monotonic() - start)
        assert rebuild.stdout is not None
        if rebuild.returncode:
            raise RuntimeError(f"the rebuild must end well, got exit status {rebuild.returncode}")
        (result,) = json.loads(rebuild.stdout.read())
    return {"seconds": seconds, "peak_anonymous_mib": most // 1024, "version": result["version"]}


def _family(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    children: dict[int, list[int]] = {}
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    for line in listed.splitlines():
        child, parent = map(int, line.split())
        children.setdefault(parent, []).append(child)
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def _anonymous(pid: int) -> int:
    """Return KiB that a process has for itself; 0 once it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    found = re.search(r"RssAnon:\s*(\d+) kB", status)
    return int(found[1]) if found else 0


if __name__ == "__main__":
    main()
