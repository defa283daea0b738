"""Whether cost grows in a straight line: many generated 28×28 images assigned, many rows published and asked.

    python -m benchmarks.scale [--images 10000000] [--rows 10000000]

Assigns shards of one hundred thousand images, each written, assigned and deleted again, in a process of its own whose
peak memory is noted; then publishes made-up assignments of as many rows, adds a batch of ten thousand, and asks
questions. Appends to ``results/scale.json``: one record a run. ``tests/test_scale.py`` (make soak) holds the bars.
"""

import argparse
import json
import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import toy
from benchmarks.lines import RESULTS
from benchmarks.machine import describe_machine
from pipeline.assignment import Shard, assign_shards
from pipeline.storage import disk_usage, write_json
from pipeline.tables import query

_SHARD = 100_000
_BATCH = 10_000
_QUESTIONS = 5


def main() -> None:
    """Measure and append the record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description="assignment and tables at size")
    parser.add_argument("--images", type=int, default=10_000_000, help="images assigned")
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows published")
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.images, arguments.rows), indent=2))


def measure(n_images: int, n_rows: int) -> dict[str, Any]:
    """Return and record all figures.

    Args:
        n_images: assigned, a multiple of one hundred thousand.
        n_rows: published.
    """
    with tempfile.TemporaryDirectory(dir=toy.ROOT / "benchmarks") as scratch:
        record = {
            "command": f"python -m benchmarks.scale --images {n_images} --rows {n_rows}",
            "machine": describe_machine(),
            "assign": _in_own_process(_assign, Path(scratch) / "assign", n_images),
            "tables": _in_own_process(_tables, Path(scratch) / "tables", n_rows),
        }
    path = RESULTS / "scale.json"
    earlier = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    write_json(path, [*earlier, record])
    return record


def _in_own_process(work: Any, root: Path, size: int) -> dict[str, Any]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, (root, size))


def _assign(root: Path, n_images: int) -> dict[str, Any]:
    images, name = toy.load_images(_SHARD)
    model = root / "model"
    version = toy.write_model(model, images[:3200])
    before = _peak_mib()
    seconds, n_bytes = [], 0
    for number in range(n_images // _SHARD):
        batch_id = f"b-{number:012x}"
        store, folder = root / f"{batch_id}.h5", root / batch_id
        # Other pixels in every shard, by a shift of the rows that is different in each.
        toy.write_images(store, np.roll(images, number, axis=2), batch_id, number * _SHARD)
        shard = Shard(store, None, batch_id, ((0, _SHARD),), folder)
        start = time.perf_counter()
        assign_shards([shard], model, toy.assign_params(), None, lambda _: None)
        seconds.append(time.perf_counter() - start)
        n_bytes = disk_usage(folder)
        store.unlink()
        shutil.rmtree(folder)
    later = seconds[1:] or seconds
    return {
        "images": n_images,
        "content": name,
        "model_version": version,
        "microseconds_an_image_first_100k": round(min(seconds[:3]) / _SHARD * 1e6, 2),
        "microseconds_an_image_overall": round(sum(later) / len(later) / _SHARD * 1e6, 2),
        "microseconds_an_image_last_tenth": round(_mean(later[-max(1, len(later) // 10) :]) / _SHARD * 1e6, 2),
        "bytes_an_image": round(n_bytes / _SHARD, 1),
        "peak_mib_before": before,
        "peak_mib": _peak_mib(),
    }


def _tables(root: Path, n_rows: int) -> dict[str, Any]:
    start = time.perf_counter()
    layout, version = toy.publish_rows(root, n_rows, _SHARD)
    built = time.perf_counter() - start
    batches = [toy.add_rows(layout, version, [(n_rows + i * _BATCH, _BATCH)]) for i in range(3)]
    (image_id,) = toy.make_ids(n_rows // 2, 1).astype(str)
    questions = {
        "clusters_counted": "SELECT cluster_uid, count(*) FROM facet_1 GROUP BY 1",
        "image_looked_up": f"SELECT * FROM facet_1 WHERE image_id = '{image_id}'",
    }
    asked = {name: [_ask(layout.root, sql) for _ in range(_QUESTIONS)] for name, sql in questions.items()}
    return {
        "rows": n_rows,
        "seconds_to_write_and_publish_all": round(built, 1),
        "seconds_to_publish_10000": [round(value, 3) for value in batches],
        **{f"seconds_{name}": [round(value, 3) for value in values] for name, values in asked.items()},
        "bytes_a_row": round(disk_usage(layout.published / "parts") / n_rows, 1),
        "peak_mib": _peak_mib(),
    }


def _ask(root: Path, sql: str) -> float:
    start = time.perf_counter()
    query("toy", sql, root=root, engine="arrow")
    return time.perf_counter() - start


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _peak_mib() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 2**20))


if __name__ == "__main__":
    main()
