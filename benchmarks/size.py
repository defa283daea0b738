"""Time and memory of preprocess and assign as the number of images grows: a million images of 32×32×3.

    python -m benchmarks.size [IMAGES ...]

Half of the images come from an array file, half from ten joined batches. Every stage runs in a process of its own that
has done the same for a thousand images before the clock starts, so that loading libraries does not count; its peak
memory includes them. Sizes run one after the other in the order given (50,000 and 1,000,000 unless told), below a
temporary folder that is deleted at the end. Writes results/size.json beside this file: seconds by the clock and of the
processor, since only the latter say much on a machine that others use too.

A host lends a virtual machine its memory page by page: the first write to a page took ten times as long as later ones
on the machine of the results, whoever writes. So before the clock starts a file as large as all that a stage writes is
written and deleted.
"""

import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from benchmarks.machine import describe_machine, peak_mib
from pipeline.config import load_params
from pipeline.config.sections import Experiment
from pipeline.core.image_ids import format_ids
from pipeline.core.layout import Layout
from pipeline.core.storage import write_json
from pipeline.core.upgrades import MODEL, PARAMETERS
from pipeline.datasets.prepare.tables import write_images_table
from pipeline.datasets.store.identity import batch_id, hash_images
from pipeline.datasets.store.spec import InputSpec
from pipeline.datasets.store.writer import create_store
from pipeline.model import MultiFacetVae
from pipeline.model.checkpoint import model_version, save_weights, seed_state, weights_path
from pipeline.operations.scan import scan_source

_HERE = Path(__file__).parent
_SHAPE = (3, 32, 32)
_SPEC = InputSpec.pixels(_SHAPE)
_N_BATCHES = 10
_BLOCK = 5_000
_STAGES = ("preprocess", "assign")


def main() -> None:
    """Measure every size and write."""
    sizes = [int(text) for text in sys.argv[1:]] or [50_000, 1_000_000]
    with tempfile.TemporaryDirectory(prefix="size-") as folder:
        warm_up = Layout(Path(folder, "warm-up"), "size")
        _prepare(warm_up, 1000)
        rows = [_measure(Layout(Path(folder, str(size)), "size"), size, warm_up) for size in sizes]
    result = {
        "command": "python -m benchmarks.size " + " ".join(map(str, sizes)),
        "machine": describe_machine(),
        "image": "x".join(map(str, _SHAPE)),
        "threads": torch.get_num_threads(),
        "sizes": rows,
    }
    for stage in _STAGES:
        for clock in ("seconds", "processor_seconds"):
            result[f"{stage}_{clock}_per_image_over_first"] = [_growth(rows[0], row, stage, clock) for row in rows]
    write_json(_HERE / "results" / "size.json", result)
    for name, value in result.items():
        print(name, value)


def _prepare(layout: Layout, n_images: int) -> None:
    experiment = _experiment()
    _generate(layout, n_images)
    _write_model(layout, experiment)
    scan_source(layout, experiment.preprocess)


def _measure(layout: Layout, n_images: int, warm_up: Layout) -> dict[str, Any]:
    _prepare(layout, n_images)
    row: dict[str, Any] = {"images": n_images}
    context = multiprocessing.get_context("spawn")
    for stage in _STAGES:
        results = context.SimpleQueue()
        process = context.Process(target=_run, args=(stage, layout, n_images, warm_up, results))
        process.start()
        process.join()
        if process.exitcode:
            sys.exit(f"{stage} of {n_images} images ended with exit code {process.exitcode}")
        seconds, processor_seconds, peak = results.get()
        row[stage] = {
            "seconds": round(seconds, 2),
            "processor_seconds": round(processor_seconds, 2),
            "peak_mebibytes": peak,
        }
        print(n_images, stage, row[stage], file=sys.stderr, flush=True)
    return row


def _growth(first: dict[str, Any], row: dict[str, Any], stage: str, clock: str) -> float:
    return round(row[stage][clock] / row["images"] * first["images"] / first[stage][clock], 3)


def _run(stage: str, layout: Layout, n_images: int, warm_up: Layout, results: Any) -> None:
    module, experiment = import_module(f"pipeline.stages.{stage}"), _experiment()
    module.run(warm_up, experiment)
    _touch_memory(layout.root / "memory", n_images)
    start, cpu = time.perf_counter(), time.process_time()
    module.run(layout, experiment)
    seconds = time.perf_counter() - start
    results.put((seconds, time.process_time() - cpu, peak_mib()))


def _touch_memory(path: Path, n_images: int) -> None:
    """Write and delete as much as preprocess writes: the source's half twice, the joined half once."""
    block = bytes(int(np.prod(_SHAPE)) * 1000)
    with path.open("wb") as file:
        for _ in range(n_images * 3 // 2000):
            file.write(block)
    path.unlink()


def _experiment() -> Experiment:
    """Return an experiment on one's own array file with a network so small that it hides nothing."""
    experiment = load_params(_HERE.parent).experiments["mnist_fast"]
    own = replace(experiment.preprocess, source="npy", path="images.npy", test_fraction=0.05)
    return replace(experiment, preprocess=own, model=replace(experiment.model, hidden=((64,), (64,))))


def _generate(layout: Layout, n_images: int) -> None:
    layout.root.mkdir(parents=True)
    n_source = n_images // 2
    with (layout.root / "images.npy").open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (n_source, *_SHAPE)}
        np.lib.format.write_array_header_1_0(file, header)
        for _, images in _blocks(0, n_source):
            file.write(images.data)
    edges = np.linspace(n_source, n_images, _N_BATCHES + 1).astype(int).tolist()
    joined = [_write_batch(layout, first, last) for first, last in pairwise(edges)]
    write_json(layout.joined, joined)


def _blocks(first: int, last: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield different images: noise, the same in every block, with the image's number in its first pixels."""
    noise = np.random.default_rng(0).integers(0, 256, (_BLOCK, *_SHAPE), dtype=np.uint8)
    for start in range(first, last, _BLOCK):
        images = noise[: min(_BLOCK, last - start)].copy()
        numbers = np.arange(start, start + len(images), dtype="<u8")
        images[:, 0, 0, :8] = numbers.view(np.uint8).reshape(-1, 8)
        yield start, images


def _write_batch(layout: Layout, first: int, last: int) -> str:
    hashes = np.concatenate([hash_images(images) for _, images in _blocks(first, last)])
    ids = format_ids(hashes, np.ones(len(hashes), np.int64))
    name = batch_id(ids.astype(str))
    folder = layout.batches / name
    folder.mkdir(parents=True)
    names = np.full(len(ids), name.encode(), "S14")
    with create_store(folder / "shard.h5", _SPEC, source="generated", split_rule="ingested") as writer:
        for start, images in _blocks(first, last):
            rows = slice(start - first, start - first + len(images))
            writer.append(images, ids[rows], names[rows])
    paths = pa.array([f"{number}.png" for number in range(first, last)])
    sizes = np.tile(np.array(_SHAPE[1:], np.int32), (len(ids), 1))
    write_images_table(folder / "images.parquet", ids, names, np.arange(len(ids), dtype=np.int64), paths, sizes)
    return name


def _write_model(layout: Layout, experiment: Experiment) -> None:
    torch.manual_seed(0)
    model = MultiFacetVae(experiment.model, _SPEC)
    state = seed_state(model, 0)
    folder = layout.artifact("model")
    save_weights(weights_path(folder, 0), state)
    description = {
        **{"schema": MODEL.schema, "parameters": PARAMETERS.schema},
        "experiment": layout.experiment,
        "model_version": model_version(state, experiment.model),
        "selected_seed": 0,
        "model": asdict(experiment.model),
        "input": _SPEC.describe(),
        "seeds": [{"seed": 0, "healthy": True}],
    }
    write_json(folder / "model.json", description)


if __name__ == "__main__":
    main()
