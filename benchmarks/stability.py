r"""How much accuracy depends on the seed, architecture beside architecture (paper, appendix E.1 and Fig. 10).

    python -m benchmarks.stability digits_ladder digits_together digits_shared --refit 40 --seeds 0 1 2 3 4 5 6 7 8 9
    python -m benchmarks.stability mnist_fast mnist_together_fast mnist_shared_fast mnist_vade_fast --refit 19 \
        --seeds 0 1 2 3 4

trains every experiment below ``benchmarks/data/`` with the same seeds, and writes ``stability-<first experiment>.json``
and a chart into ``benchmarks/results/``. What their sections say of refits does not count: the mixtures of all
architectures are fitted anew once, when ``--refit`` epochs are over, as a refit alone gains more than most changes of
the architecture do. A killed run goes on where it was.
"""

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from benchmarks.accuracy import ROOT, prepare_apart, run_stage
from benchmarks.machine import describe_machine
from pipeline.config import load_params
from pipeline.core.storage import read_json, write_json
from pipeline.paper.charts import Spread, spread_chart, write_svg
from pipeline.paper.stability import SeedSpread, seed_spread

Phases = list[dict[str, Any]]

LEAST_SEEDS = 5


def main() -> None:
    """Train, summarise, write, print a table."""
    parser = argparse.ArgumentParser(description="spread of accuracy over seeds, by architecture")
    parser.add_argument("experiments", nargs="+")
    parser.add_argument("--refit", type=int, required=True, metavar="EPOCHS", help="after which all are refitted once")
    parser.add_argument("--seeds", type=int, nargs="+", required=True, help="fixed before the run")
    arguments = parser.parse_args()
    if len(set(arguments.seeds)) < LEAST_SEEDS:
        parser.error(f"a spread needs {LEAST_SEEDS} seeds at least, got {len(set(arguments.seeds))}")
    params = load_params(ROOT)
    phases = {name: [asdict(one) for one in params.experiment(name).train.phases] for name in arguments.experiments}
    phases = refitted_alike(phases, arguments.refit)
    found = {name: _measure(name, arguments.seeds, phases[name]) for name in arguments.experiments}
    write_results(found, phases, arguments.refit, arguments.seeds)


def refitted_alike(phases: Mapping[str, Phases], epoch: int) -> dict[str, Phases]:
    """Return the phases of several experiments with one refit for all, in the same epoch.

    Args:
        phases: of each experiment.
        epoch: how many epochs are over by then.

    Raises:
        SystemExit: they are of different lengths, or end before.
    """
    lengths = {name: sum(phase["epochs"] for phase in own) for name, own in phases.items()}
    if len(set(lengths.values())) > 1 or not 1 <= epoch <= min(lengths.values()):
        raise SystemExit(f"all must train as long, and the refit must lie within, got refit {epoch} and {lengths}")
    return {name: _refitted(own, epoch) for name, own in phases.items()}


def _refitted(phases: Phases, epoch: int) -> Phases:
    found, first = [], 0
    for phase in phases:
        is_within = first < epoch <= first + phase["epochs"]
        found.append({**phase, "refit_at": (epoch - first) / phase["epochs"] if is_within else 0.0})
        first += phase["epochs"]
    return found


def write_results(
    found: Mapping[str, dict[str, Any]], phases: Mapping[str, Phases], refit: int, seeds: list[int]
) -> None:
    """Write and print the results.

    Args:
        found: experiment to its ``metrics.json``.
        phases: with which each was trained.
        refit: after how many epochs all were refitted.
        seeds: that were trained.
    """
    stem = ROOT / "benchmarks" / "results" / f"stability-{next(iter(found))}"
    asked = f"{' '.join(found)} --refit {refit} --seeds {' '.join(map(str, seeds))}"
    result = {
        "command": f"python -m benchmarks.stability {asked}",
        "machine": describe_machine(),
        "seeds": seeds,
        "experiments": {name: {"phases": phases[name], **_record(metrics)} for name, metrics in found.items()},
    }
    write_json(stem.with_suffix(".json"), result)
    write_svg(stem.with_suffix(".svg"), spread_chart("Accuracy over seeds", "accuracy, as in the paper", _rows(found)))
    for name, metrics in found.items():
        for spread in _spreads(metrics):
            print(f"{name:<20} {spread.factor:<12} {spread.facet}  {spread.mean:.3f} ± {spread.std or 0:.3f}")


def _measure(experiment: str, seeds: list[int], phases: Phases) -> dict[str, Any]:
    layout = prepare_apart(experiment, seeds, f"stability-{experiment}", phases)
    for stage in ("resolve", "preprocess", "init_mog", "train", "score"):
        run_stage(stage, layout)
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
