"""Whether cost grows in a straight line: many generated 28×28 images assigned, many rows published and asked.

    python -m benchmarks.scale [--images 10000000] [--rows 10000000] [--at FOLDER]

Writes shards of one hundred thousand images, assigns each in one other process, whose peak memory is noted, and deletes
it again; then publishes made-up assignments of as many rows, adds a batch of ten thousand, and asks
questions. With ``--at`` the tables stay there, and a folder that has them already is asked again without building.
Processor seconds, all threads together, stand beside the clock's: on a busy machine they say more. Appends to
``results/scale.json``: one record a run. ``tests/test_scale.py`` (make soak) holds the bars.
"""

import argparse
import json
import multiprocessing
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import toy
from benchmarks.lines import RESULTS, Side
from benchmarks.machine import describe_machine, peak_mib
from pipeline.assignment import Shard
from pipeline.core.layout import Layout
from pipeline.core.storage import disk_usage, write_json
from pipeline.tables import History, query

_SHARD = 100_000
_BATCH = 10_000
_QUESTIONS = 5

_ASSIGNER = """
import json, pickle, re, sys, time
from pathlib import Path
from pipeline.assignment import assign_shards

while True:
    shard, model, params = pickle.load(sys.stdin.buffer)
    start, start_cpu = time.perf_counter(), time.process_time()
    assign_shards([shard], model, params, None, lambda _: None)
    cost = time.perf_counter() - start, time.process_time() - start_cpu
    (peak,) = re.findall(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())
    print(json.dumps([*cost, int(peak) // 1024]), flush=True)
"""
"""A process that loads nothing but what it assigns with, so that its memory says something."""

Cost = tuple[float, float]


def main() -> None:
    """Measure and append the record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description="assignment and tables at size")
    parser.add_argument("--images", type=int, default=10_000_000, help="images assigned")
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows published")
    parser.add_argument("--at", type=Path, help="folder that keeps the tables")
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.images, arguments.rows, arguments.at), indent=2))


def measure(n_images: int, n_rows: int, at: Path | None = None) -> dict[str, Any]:
    """Return and record all figures.

    Args:
        n_images: assigned, a multiple of one hundred thousand; 0 for none.
        n_rows: published.
        at: folder that keeps the tables.
    """
    with tempfile.TemporaryDirectory(dir=toy.ROOT / "benchmarks") as scratch:
        record = {
            "command": f"python -m benchmarks.scale --images {n_images} --rows {n_rows}",
            "machine": describe_machine(),
            "assign": _assign(Path(scratch) / "assign", n_images) if n_images else None,
            "tables": _ask_tables(at or Path(scratch) / "tables", n_rows),
        }
    path = RESULTS / "scale.json"
    earlier = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    write_json(path, [*earlier, record])
    return record


def _ask_tables(root: Path, n_rows: int) -> dict[str, Any]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_tables, (root, n_rows))


def _assign(root: Path, n_images: int) -> dict[str, Any]:
    images, name = toy.load_images(_SHARD)
    model = root / "model"
    toy.write_model(model, images[:3200])
    costs, n_bytes, peaks = [], 0, []
    command = [sys.executable, "-c", _ASSIGNER]
    with subprocess.Popen(command, cwd=toy.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as assigner:
        assert assigner.stdin is not None
        assert assigner.stdout is not None
        for number in range(n_images // _SHARD):
            batch_id = f"b-{number:012x}"
            store, folder = root / f"{batch_id}.h5", root / batch_id
            # Other pixels in every shard, by a shift of the rows that is different in each.
            toy.write_images(store, np.roll(images, number, axis=2), batch_id, number * _SHARD)
            shard = Shard(store, None, batch_id, ((0, _SHARD),), folder)
            pickle.dump((shard, model, toy.assign_params()), assigner.stdin)
            assigner.stdin.flush()
            *cost, peak = json.loads(assigner.stdout.readline())
            costs.append(cost)
            peaks.append(peak)
            n_bytes = disk_usage(folder)
            store.unlink()
            shutil.rmtree(folder)
        assigner.kill()
    # The first shard pays for loading.
    microseconds = np.array(costs[1:] or costs) / _SHARD * 1e6
    tenth = max(1, len(microseconds) // 10)
    return {
        "images": n_images,
        "content": name,
        "microseconds_an_image_first": _pair(microseconds[0]),
        "microseconds_an_image_overall": _pair(microseconds.mean(0)),
        "microseconds_an_image_last_tenth": _pair(microseconds[-tenth:].mean(0)),
        "bytes_an_image": round(n_bytes / _SHARD, 1),
        "peak_mib_first": peaks[0],
        "peak_mib": peaks[-1],
    }


def _tables(root: Path, n_rows: int) -> dict[str, Any]:
    built = None
    if not (root / "published").exists():
        built = _pair(_cost(lambda: toy.publish_rows(root, n_rows, _SHARD)))
    layout = Layout(root, "toy")
    history = History(layout.published)
    version, start = history.served().model_version, history.served().n_images
    batches = [toy.add_rows(layout, version, [(start + i * _BATCH, _BATCH)]) for i in range(3)]
    (image_id,) = toy.make_ids(n_rows // 2, 1).astype(str)
    questions = {
        "clusters_counted": "SELECT cluster_uid, count(*) FROM facet_1 GROUP BY 1",
        "image_looked_up": f"SELECT * FROM facet_1 WHERE image_id = '{image_id}'",
    }
    asked = {
        name: [_pair(_cost(lambda sql=sql: query("toy", sql, root=root, engine="arrow"))) for _ in range(_QUESTIONS)]
        for name, sql in questions.items()
    }
    return {
        "rows": start,
        "seconds_to_write_and_publish_all": built,
        "seconds_to_publish_10000": [_pair(cost) for cost in batches],
        **{f"seconds_{name}": values for name, values in asked.items()},
        "bytes_a_row": round(disk_usage(layout.published / "parts") / start, 1),
        "peak_mib": peak_mib(),
    }


def _cost(work: Side) -> Cost:
    """Return seconds by the clock and of all processors together."""
    start, start_cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - start_cpu


def _pair(cost: Sequence[float]) -> dict[str, float]:
    return {"clock": round(float(cost[0]), 3), "processors": round(float(cost[1]), 3)}


if __name__ == "__main__":
    main()
