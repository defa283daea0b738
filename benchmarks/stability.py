"""How much accuracy depends on the seed, architecture beside architecture (paper, appendix E.1 and Fig. 10).

    python -m benchmarks.stability digits digits_together digits_shared --seeds 0 1 2 3 4 5 6 7 8 9

trains every experiment below ``benchmarks/data/`` with the same seeds, and writes ``stability-<first experiment>.json``
and a chart into ``benchmarks/results/``. All seeds of an experiment train side by side, each as it would alone: that
takes half the time of one after the other where a network is small. A killed run goes on where it was.
"""

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from importlib import import_module
from typing import Any
from unittest.mock import patch

from benchmarks.accuracy import ROOT, prepare_apart, run_stage
from benchmarks.machine import describe_machine
from pipeline.config import load_params
from pipeline.core.storage import read_json, write_json
from pipeline.paper.charts import Spread, spread_chart, write_svg
from pipeline.paper.stability import SeedSpread, seed_spread


def main() -> None:
    """Train, summarise, write, print a table."""
    parser = argparse.ArgumentParser(description="spread of accuracy over seeds, by architecture")
    parser.add_argument("experiments", nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", required=True, help="fixed before the run")
    arguments = parser.parse_args()
    found = {name: _measure(name, arguments.seeds) for name in arguments.experiments}
    write_results(found, arguments.seeds)


def write_results(found: Mapping[str, dict[str, Any]], seeds: list[int]) -> None:
    """Write and print the results.

    Args:
        found: experiment to its ``metrics.json``.
        seeds: that were trained.
    """
    stem = ROOT / "benchmarks" / "results" / f"stability-{next(iter(found))}"
    result = {
        "command": f"python -m benchmarks.stability {' '.join(found)} --seeds {' '.join(map(str, seeds))}",
        "machine": describe_machine(),
        "seeds": seeds,
        "experiments": {name: _record(metrics) for name, metrics in found.items()},
    }
    write_json(stem.with_suffix(".json"), result)
    write_svg(stem.with_suffix(".svg"), spread_chart("Accuracy over seeds", "accuracy, as in the paper", _rows(found)))
    for name, metrics in found.items():
        for spread in _spreads(metrics):
            print(f"{name:<20} {spread.factor:<12} {spread.facet}  {spread.mean:.3f} ± {spread.std or 0:.3f}")


def _measure(experiment: str, seeds: list[int]) -> dict[str, Any]:
    layout = prepare_apart(experiment, seeds)
    for stage in ("resolve", "preprocess", "init_mog"):
        run_stage(stage, layout)
    params = load_params(layout.root).experiment(experiment)
    module = import_module("pipeline.training.train")
    with patch.object(module, "seed_groups", lambda together, _: [tuple(together)]):
        module.train(layout, params.seeds, params.model, params.train)
    run_stage("score", layout)
    return read_json(layout.artifact("score") / "metrics.json")


def _spreads(metrics: dict[str, Any]) -> list[SeedSpread]:
    return [seed_spread(metrics, factor) for factor in metrics["classes"]]


def _record(metrics: dict[str, Any]) -> dict[str, Any]:
    shares = {pair: found["normalised"] for pair, found in metrics["mean"]["independence"].items()}
    return {
        "spread": {spread.factor: asdict(spread) for spread in _spreads(metrics)},
        "other_facets": {
            facet: {factor: scores["accuracy_paper"] for factor, scores in tree["factors"].items()}
            for facet, tree in metrics["mean"]["facets"].items()
        },
        "shared_information": shares,
        "unhealthy_seeds": metrics["unhealthy_seeds"],
    }


def _rows(found: Mapping[str, dict[str, Any]]) -> list[Spread]:
    return [
        Spread(
            f"{name}: {spread.factor}",
            list(spread.by_seed.values()),
            spread.mean,
            spread.std,
            metrics["mean"]["facets"][spread.facet]["factors"][spread.factor]["chance"]["accuracy_paper"],
        )
        for name, metrics in found.items()
        for spread in _spreads(metrics)
    ]


if __name__ == "__main__":
    main()
