"""The paper's datasets with ten seeds on one GPU, each in minutes.

    python -m benchmarks.gpu --only mnist|shapes3d|svhn [--minutes 8.5]

runs the stages preprocess … score below ``benchmarks/data/gpu-<experiment>/``, a stage in a process of its own, and
writes ``benchmarks/results/gpu-<experiment>.json``: seconds of every stage, accuracy over seeds, and which part of the
device's rate of matrix products training reached, and of the rate at which it starts kernels. When the minutes are
over, the running stage is stopped, the command ends with exit code 75, and the same command goes on; seconds add up
over calls. Python's bytecode exists before, as an installation leaves it; the first run on a machine compiles Triton's
kernels within its own time. MNIST has the paper's settings and schedule, 3DShapes (rendered scenes) and SVHN those of
the ``_fast`` experiments, for scenes with a last phase twice as long. MNIST and SVHN lie in ``data/raw`` or are
downloaded.

Without a GPU the same runs at reduced length, two seeds and about twenty epochs, and says so; the result is then
``gpu-<experiment>-reduced.json``.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks.gpu_rates import assignment_rates, launch_floor
from benchmarks.machine import describe_machine
from benchmarks.products import multiply_adds, product_rate
from pipeline.config import load_params
from pipeline.core.layout import Layout
from pipeline.core.storage import read_json, write_json
from pipeline.core.text import to_json
from pipeline.core.upgrades import read_model_file
from pipeline.datasets.prepare.manifest import scan
from pipeline.datasets.store.spec import read_spec
from pipeline.training.runtime import resolve_runtime
from pipeline.training.schedule import ProgressiveSchedule

ROOT = Path(__file__).parents[1]
EXPERIMENTS = {"mnist": ("mnist",), "shapes3d": ("shapes3d_1_fast", "shapes3d_2_fast"), "svhn": ("svhn_fast",)}
_STAGES = ("resolve", "preprocess", "init_mog", "train", "score")
_IMPORTED = (
    "pipeline.stages.preprocess",
    "pipeline.stages.init_mog",
    "pipeline.stages.train",
    "pipeline.stages.score",
    "pipeline.datasets.prepare.build",
    "sklearn.cluster",
)
_REDUCED_EPOCHS = 20  # with fewer the latents have learned nothing yet, and the stage refuses the seeds
_N_SEEDS = 10
_LAST_PHASE = {"shapes3d_1_fast": 2, "shapes3d_2_fast": 2}  # times as long: made for two cores, a GPU affords more
UNFINISHED = 75  # EX_TEMPFAIL: run it again
_FULL_SVHN = 73_257  # images of the paper's training split


def main() -> None:
    """Run what is left, within the minutes."""
    parser = argparse.ArgumentParser(description="the paper's experiments with all seeds on one GPU")
    parser.add_argument("--only", choices=list(EXPERIMENTS), required=True)
    parser.add_argument("--minutes", type=float, default=8.5, help="stop then; the same command goes on")
    arguments = parser.parse_args()
    deadline = time.monotonic() + 60 * arguments.minutes
    is_reduced = not torch.cuda.is_available()
    if is_reduced:
        print("no GPU: two seeds, twenty epochs; the figures say only that it runs")
    for experiment in EXPERIMENTS[arguments.only]:
        layout = _prepare(experiment, is_reduced)
        seconds = _run_stages(layout, deadline)
        name = f"gpu-{experiment}{'-reduced' if is_reduced else ''}"
        result = {
            "command": f"python -m benchmarks.gpu --only {arguments.only}",
            "is_reduced": is_reduced,
            "machine": describe_machine(),
            "seconds": {stage: round(value, 1) for stage, value in seconds.items()},
            **_accuracy(layout),
            **_throughput(layout, seconds["train"]),
            **({} if is_reduced else _rates(layout)),
        }
        write_json(ROOT / "benchmarks" / "results" / f"{name}.json", result)
        print(f"{name}: {sum(seconds.values()):.0f} s in all, {result['accuracy_paper']}")


def _prepare(experiment: str, is_reduced: bool) -> Layout:
    """Write the scratch root's parameters; leave one that has begun with the same parameters as it is."""
    layout = Layout(ROOT / "benchmarks" / "data" / f"gpu-{experiment}", experiment)
    section = json.loads(to_json(asdict(load_params(ROOT).experiment(experiment))))
    section["score"]["baselines"] = False
    section["seeds"] = list(range(2 if is_reduced else _N_SEEDS))
    if is_reduced:
        total = sum(phase["epochs"] for phase in section["train"]["phases"])
        for phase in section["train"]["phases"]:
            phase["epochs"] = round(_REDUCED_EPOCHS * phase["epochs"] / total)
        section["train"]["min_entropy"] = 0.0  # clusters have not formed yet
    else:
        section["train"]["phases"][-1]["epochs"] *= _LAST_PHASE.get(experiment, 1)
    text = yaml.safe_dump({"active": [experiment], "experiments": {experiment: section}})
    path = layout.root / "params.yaml"
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return layout
    layout.root.mkdir(parents=True, exist_ok=True)
    _state_path(layout).unlink(missing_ok=True)
    path.write_text(text, encoding="utf-8")
    raw = Layout(ROOT, experiment).raw
    raw.mkdir(parents=True, exist_ok=True)
    layout.raw.parent.mkdir(parents=True, exist_ok=True)
    if not layout.raw.exists():
        layout.raw.symlink_to(raw)
    for empty in (layout.joined, layout.removed):
        write_json(empty, [])
    preprocess = load_params(layout.root).experiment(experiment).preprocess
    write_json(layout.source_manifest, scan(layout, preprocess))
    return layout


def _run_stages(layout: Layout, deadline: float) -> dict[str, float]:
    """Run the stages that have not ended yet; return the seconds of each over all calls."""
    path = _state_path(layout)
    state: dict[str, Any] = read_json(path) if path.exists() else {"done": [], "seconds": {}}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # every stage would compile the libraries anew
    subprocess.run([sys.executable, "-c", f"import {', '.join(_IMPORTED)}"], env=environment, check=True)
    for stage in _STAGES:
        if stage in state["done"]:
            continue
        start = time.monotonic()
        try:
            subprocess.run(
                [sys.executable, "-m", f"pipeline.stages.{stage}", layout.experiment],
                cwd=layout.root,
                env=environment,
                check=True,
                timeout=max(1.0, deadline - start),
            )
            state["done"].append(stage)
        except subprocess.TimeoutExpired:
            print(f"{layout.experiment} stopped in stage {stage}; run the same command again and it goes on")
            sys.exit(UNFINISHED)
        finally:
            state["seconds"][stage] = state["seconds"].get(stage, 0.0) + time.monotonic() - start
            write_json(path, state)
    return state["seconds"]


def _state_path(layout: Layout) -> Path:
    return layout.root / "state.json"


def _accuracy(layout: Layout) -> dict[str, Any]:
    """Return mean and standard deviation over seeds, by facet and factor."""
    metrics = read_json(layout.artifact("score") / "metrics.json")
    found: dict[str, Any] = {"unhealthy_seeds": metrics["unhealthy_seeds"]}
    for name in ("accuracy", "accuracy_same_split", "accuracy_paper"):
        found[name] = {
            f"facet {facet}, {factor}": [
                round(metrics[part]["facets"][facet]["factors"][factor][name], 4) for part in ("mean", "std")
            ]
            for facet, record in metrics["mean"]["facets"].items()
            for factor in record["factors"]
        }
    return found


def _throughput(layout: Layout, seconds: float) -> dict[str, Any]:
    """Return the part of the device's product rate that training reached, over its whole time."""
    params = load_params(layout.root).experiment(layout.experiment)
    description = read_model_file(layout.artifact("model"))
    runtime = description["runtime"]
    n_images = description["n_train"]
    n_trained = n_images - int(n_images * params.train.validation_fraction)
    schedule = ProgressiveSchedule(params.train, params.model.n_facets, n_trained)
    operations = 6 * multiply_adds(params.model, read_spec(description["input"])) * schedule.batch_size
    done = operations * schedule.n_steps * len(params.seeds)
    rate = product_rate(getattr(torch, runtime["precision"]))
    found: dict[str, Any] = {
        "runtime": runtime,
        "steps": schedule.n_steps,
        "milliseconds_a_step_and_seed": round(1e3 * seconds / schedule.n_steps / len(params.seeds), 3),
        "product_teraflops": round(rate / 1e12, 2),
        "part_of_product_rate": round(done / seconds / rate, 4),
    }
    if layout.experiment.startswith("svhn"):
        found["train_seconds_for_73257_images"] = round(seconds * _FULL_SVHN / n_trained, 1)
    return found


def _rates(layout: Layout) -> dict[str, Any]:
    """Return what only a GPU has: the launch floor and, of the dense model, the speed of assignment."""
    params = load_params(layout.root).experiment(layout.experiment)
    runtime, spec = resolve_runtime(params.train), read_spec(read_model_file(layout.artifact("model"))["input"])
    found: dict[str, Any] = {"step": launch_floor(params, spec, runtime)}
    if params.model.family == "dense":
        found["assign"] = assignment_rates(layout.artifact("model"), layout.prepared / "train.h5", runtime)
    return found


if __name__ == "__main__":
    main()
