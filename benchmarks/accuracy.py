"""Accuracy and time of an experiment, trained from scratch beside the repository's own state.

    python -m benchmarks.accuracy mnist_fast --seeds 0 1 2 3 4

runs preprocess, init_mog, train and score below ``benchmarks/data/<experiment>/`` with the experiment's section of
``params.yaml`` (only the seeds may differ) and writes ``benchmarks/results/accuracy-<experiment>.json``. Downloads and
rendered scenes are shared with the repository's ``data/raw``. A killed run goes on where it was.
"""

import argparse
import csv
import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import yaml

from benchmarks.machine import describe_machine
from pipeline.config import load_params
from pipeline.core.layout import Layout
from pipeline.core.storage import read_json, write_json
from pipeline.datasets.store.images import ImageStore
from pipeline.evaluation.agreement import Clustering, agreement
from pipeline.evaluation.baselines import fit_baselines, fit_pixels, predict_split
from pipeline.evaluation.labels import read_factors

ROOT = Path(__file__).parent.parent
_STARTS = 10
_MEASURES = ("accuracy", "accuracy_same_split", "accuracy_paper")
_STAGES = ("resolve", "preprocess", "init_mog", "train", "score")


class Seconds(NamedTuple):
    """How long a stage took; the second figure is hardly longer on a machine that others use too."""

    wall: float
    processor: float


def main() -> None:
    """Run the stages and write the result."""
    parser = argparse.ArgumentParser(description="accuracy of an experiment over seeds")
    parser.add_argument("experiment")
    parser.add_argument("--seeds", type=int, nargs="+", required=True, help="fixed before the run")
    arguments = parser.parse_args()
    layout, seconds = train_apart(arguments.experiment, arguments.seeds)
    seeds = " ".join(map(str, arguments.seeds))
    result = {
        "command": f"python -m benchmarks.accuracy {arguments.experiment} --seeds {seeds}",
        "machine": describe_machine(),
        "seeds": arguments.seeds,
        "seconds": {stage: round(value.wall, 1) for stage, value in seconds.items()},
        "processor_seconds": {stage: round(value.processor, 1) for stage, value in seconds.items()},
        "seconds_a_seed": round(seconds["train"].wall / len(arguments.seeds), 1),
        "processor_seconds_a_seed": round(seconds["train"].processor / len(arguments.seeds), 1),
        **_summary(layout),
    }
    path = ROOT / "benchmarks" / "results" / f"accuracy-{arguments.experiment}.json"
    write_json(path, result)
    print(json.dumps(result["facets"], indent=2))
    print(f"{result['seconds_a_seed']} s a seed; written to {path.relative_to(ROOT)}")


def train_apart(experiment: str, seeds: list[int]) -> tuple[Layout, dict[str, Seconds]]:
    """Run the stages up to score below ``benchmarks/data/<experiment>/``; return where, and the seconds of each."""
    layout = prepare_apart(experiment, seeds)
    return layout, {stage: run_stage(stage, layout) for stage in _STAGES}


def prepare_apart(
    experiment: str,
    seeds: list[int],
    folder: str = "",
    phases: list[dict[str, Any]] | None = None,
    preset: str | None = None,
) -> Layout:
    """Write parameters of a scratch root, share raw data and source manifest, return it.

    Args:
        experiment: whose section of ``params.yaml`` counts.
        seeds: in place of its seeds.
        folder: below ``benchmarks/data/``, by default the experiment's name.
        phases: in place of its phases of training.
        preset: in place of all that its section says of the model and its training.
    """
    layout = Layout(ROOT / "benchmarks" / "data" / (folder or experiment), experiment)
    layout.root.mkdir(parents=True, exist_ok=True)
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    section = {**params["experiments"][layout.experiment], "seeds": seeds}
    if phases is not None:
        section["train"] = {**section["train"], "phases": phases}
    if preset is not None:
        section = {"preset": preset, "seeds": seeds, "preprocess": section["preprocess"]}
    alone = {"active": [layout.experiment], "experiments": {layout.experiment: section}}
    (layout.root / "params.yaml").write_text(yaml.safe_dump(alone), encoding="utf-8")
    own = Layout(ROOT, layout.experiment)
    if not own.source_manifest.exists():
        sys.exit(f"{own.source_manifest.relative_to(ROOT)} is missing; run facets scan {experiment}")
    for path in (own.source_manifest, own.joined, own.removed):
        target = layout.root / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes() if path.exists() else b"[]\n")
    own.raw.mkdir(parents=True, exist_ok=True)
    if not layout.raw.exists():
        layout.raw.symlink_to(own.raw)
    return layout


def run_stage(stage: str, layout: Layout) -> Seconds:
    """Run a stage in its own process and return how long it took."""
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", f"pipeline.stages.{stage}", layout.experiment]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # or the stage would go on alone
    with subprocess.Popen(command, cwd=layout.root, env=environment) as process:
        try:
            status = process.wait()
        finally:
            process.terminate()
    if status:
        raise subprocess.CalledProcessError(status, command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Seconds(time.monotonic() - start, processor)


def _summary(layout: Layout) -> dict[str, Any]:
    metrics = read_json(layout.artifact("score") / "metrics.json")
    selected = str(metrics["selected_seed"])
    facets: dict[str, Any] = {}
    for facet, record in metrics["mean"]["facets"].items():
        for factor in record["factors"]:
            for name in _MEASURES:
                values = {
                    seed: tree["facets"][facet]["factors"][factor][name] for seed, tree in metrics["seeds"].items()
                }
                spread = metrics["std"]["facets"][facet]["factors"][factor][name]
                facets.setdefault(facet, {}).setdefault(factor, {})[name] = {
                    "mean": record["factors"][factor][name],
                    "std": spread,
                    "selected": values[selected],
                    "seeds": values,
                }
    return {
        "selected_seed": metrics["selected_seed"],
        "unhealthy_seeds": metrics["unhealthy_seeds"],
        "facets": facets,
        "chance": metrics["chance"],
        "baselines": metrics["baselines"],
        "baseline_starts": _baselines_over_starts(layout),
        "validation_elbo": _validation(layout),
    }


def _baselines_over_starts(layout: Layout) -> dict[str, Any]:
    """Return the test accuracy of clusterings of raw pixels over starts, by the number of clusters: one is one draw."""
    params = load_params(layout.root).experiment(layout.experiment)
    with ImageStore(layout.prepared / "train.h5") as train, ImageStore(layout.prepared / "test.h5") as test:
        factors = read_factors(layout.prepared, train, test)
        pixels = fit_pixels(train, params.score.baseline_images)
        found: dict[str, Any] = {}
        for n_components in sorted(set(params.model.n_components)):
            of_size = found[f"{n_components} clusters"] = {}
            for start in range(_STARTS):
                fitted = fit_baselines(pixels, n_components, start)
                pairs = zip(predict_split(fitted, train), predict_split(fitted, test), strict=True)
                for baseline, ids in zip(fitted, pairs, strict=True):
                    clusters = Clustering(*ids, n_components)
                    of_size.setdefault(baseline.name, []).append(
                        {name: asdict(agreement(clusters, factor)) for name, factor in factors.items()}
                    )
    return {
        clusters: {name: _over_starts(starts) for name, starts in of_size.items()}
        for clusters, of_size in found.items()
    }


def _over_starts(starts: list[dict[str, Any]]) -> dict[str, Any]:
    def summary(factor: str, measure: str) -> dict[str, Any]:
        values = [start[factor][measure] for start in starts]
        return {"mean": mean(values), "std": stdev(values), "starts": values}

    return {factor: {measure: summary(factor, measure) for measure in _MEASURES} for factor in starts[0]}


def _validation(layout: Layout) -> dict[str, float]:
    """Return each seed's last validation bound, nats an image."""
    with (layout.artifact("model") / "history.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "validation"]
    return {row["seed"]: float(row["elbo"]) for row in rows}


if __name__ == "__main__":
    main()
