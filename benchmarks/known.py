"""Ten thousand images come in on top of many published rows, beside the same on top of a tenth of them.

The whole operation, from a file of new images to rows of the published model, in a process of its own each time, so
that its peak memory says something. Model and first rows are those of a real, tiny experiment; other rows are made up.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks import toy
from benchmarks.lines import Line, line_of, report
from pipeline.core.layout import Layout
from tests.operations.tiny import build_tiny
from tests.repository import EXPERIMENT

_DELIVERED = 10_000
_ROWS_A_BATCH = 100_000

_INGEST = """
import json, sys
from pathlib import Path
from benchmarks.machine import peak_mib
from pipeline.config import load_params
from pipeline.core.layout import Layout
from pipeline.operations.ingest import ingest

root, delivery, name = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
result = ingest(Layout(root, name), load_params(root).experiment(name), delivery)
assert (result.n_images, result.duplicates, result.faults) == (int(sys.argv[4]), 1, ()), result
print(json.dumps([result.seconds, peak_mib()]))
"""


def measure(full: bool) -> list[Line]:
    """Time deliveries onto ten million rows and one million alternately, or onto a tenth of both."""
    n_rows, rounds = (10_000_000, 9) if full else (1_000_000, 3)
    with tempfile.TemporaryDirectory(dir=toy.ROOT / "benchmarks") as scratch:
        template = build_tiny(Path(scratch) / "template")
        large, small = (_publish(template.copy(Path(scratch) / str(n)).root, n) for n in (n_rows, n_rows // 10))
        ours, floor = [], []
        for number in range(rounds + 1):  # one to warm up
            delivery = Path(scratch) / "new.npy"
            np.save(delivery, _images(number, template.root))
            ours.append(_ingest(large, delivery))
            floor.append(_ingest(small, delivery))
    seconds, floor_seconds = ([one[0] for one in side[1:]] for side in (ours, floor))
    peaks = {"peak_mib": max(one[1] for one in ours), "floor_peak_mib": max(one[1] for one in floor)}
    name, against = f"{_DELIVERED:,} images ingested onto {n_rows:,} rows", f"the same onto {n_rows // 10:,}"
    return [replace(line_of(name, seconds, floor_seconds, against, items=_DELIVERED), more=peaks)]


def _publish(root: Path, n_rows: int) -> Layout:
    """Publish made-up rows as batches of the model in service."""
    layout = Layout(root, EXPERIMENT)
    version = next((layout.published / "models").glob("m-*")).name
    starts = list(range(0, n_rows, _ROWS_A_BATCH))
    for some in (starts[i : i + 10] for i in range(0, len(starts), 10)):
        toy.add_rows(layout, version, [(start, min(_ROWS_A_BATCH, n_rows - start)) for start in some], n_components=3)
    return layout


def _images(number: int, root: Path) -> np.ndarray:
    """Return images that no other delivery has, and at the end one of the experiment's source."""
    with np.load(root / "data" / "own" / "images.npz") as arrays:
        known = arrays["images"][:1]
    new = np.random.default_rng(number).integers(0, 256, (_DELIVERED, 8, 8), dtype=np.uint8)
    return np.concatenate([new, known])


def _ingest(layout: Layout, delivery: Path) -> tuple[float, int]:
    command = [sys.executable, "-c", _INGEST, str(layout.root), str(delivery), EXPERIMENT, str(_DELIVERED)]
    done = subprocess.run(command, cwd=toy.ROOT, check=True, capture_output=True, text=True)
    seconds, peak = json.loads(done.stdout.splitlines()[-1])
    return seconds, peak


if __name__ == "__main__":
    report(measure)
