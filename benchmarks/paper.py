"""The paper's numbers for an experiment that ``benchmarks.accuracy`` has trained.

    python -m benchmarks.accuracy mnist_fast --seeds 0 1 2
    python -m benchmarks.paper mnist_fast [--samples 60000]

writes probes (table 1), the swap test, sample diversity (table 7), loss forms (Fig. 7) and independence of the
selected seed, and the swap test of every seed, into ``benchmarks/results/paper-<experiment>.json``; pictures go to
``benchmarks/data/paper/``.
"""

import argparse
from dataclasses import asdict
from statistics import mean, stdev
from typing import Any

from benchmarks.accuracy import ROOT
from benchmarks.machine import describe_machine
from pipeline.config import load_params
from pipeline.core.layout import Layout
from pipeline.core.progress import progress
from pipeline.core.storage import read_json, write_json
from pipeline.datasets.store.images import ImageStore
from pipeline.evaluation.clusters import cluster_split
from pipeline.evaluation.keys import facet_key
from pipeline.model import load_model
from pipeline.paper import SAMPLES, paper_results, write_paper, write_paper_figures
from pipeline.paper.swaps import swap_score

_SWAP_PAIRS = 1000
_SHOWN = ("source", "model_version", "probes", "swaps", "diversity", "lpips_missing", "loss_forms", "independence")


def main() -> None:
    """Compute, write, print probes and swaps."""
    parser = argparse.ArgumentParser(description="the paper's numbers of a trained experiment")
    parser.add_argument("experiment")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="generated images of table 7")
    arguments = parser.parse_args()
    name, n_samples = arguments.experiment, arguments.samples
    layout = Layout(ROOT / "benchmarks" / "data" / name, name)
    results = paper_results(layout, load_params(layout.root).experiment(name).report.temperature, n_samples)
    folder = ROOT / "benchmarks" / "data" / "paper" / name
    write_paper([results], folder)
    write_paper_figures(folder)
    shown = {key: results.tables[key] for key in _SHOWN}
    head = {"command": f"python -m benchmarks.paper {name} --samples {n_samples}", "machine": describe_machine()}
    of_seeds = {"swaps_of_seeds": _swaps_of_seeds(layout)}
    write_json(ROOT / "benchmarks" / "results" / f"paper-{name}.json", {**head, **shown, **of_seeds})
    _print(shown)
    for facet, found in of_seeds["swaps_of_seeds"].items():
        print(facet, "exchanged, over seeds:", found["spread"])


def _swaps_of_seeds(layout: Layout) -> dict[str, Any]:
    """Return the swap test of every healthy seed, and mean and standard deviation over them."""
    seeds = sorted(map(int, read_json(layout.artifact("score") / "metrics.json")["seeds"]))
    found: dict[str, dict[str, Any]] = {}
    with ImageStore(layout.prepared / "test.h5") as test:
        for seed in seeds:
            model = load_model(layout.artifact("model"), seed)
            with progress(f"paper {layout.experiment}: seed {seed}", test.n_images) as bar:
                ids = [facet.cluster_id for facet in cluster_split(model, test, bar)]
            for j in range(model.n_facets):
                score = swap_score(model, test, ids, j, _SWAP_PAIRS)
                found.setdefault(facet_key(j), {})[str(seed)] = None if score is None else asdict(score)
    return {facet: {"seeds": scores, "spread": _spread(list(scores.values()))} for facet, scores in found.items()}


def _spread(scores: list[dict[str, Any] | None]) -> dict[str, list[float]]:
    """Return mean and standard deviation of ``changed`` and of every facet's ``kept``."""
    rows = [{"changed": score["changed"], **score["kept"]} for score in scores if score is not None]
    columns = {key: [row[key] for row in rows] for key in (rows[0] if rows else {})}
    return {
        key: [round(mean(values), 4), round(stdev(values), 4) if len(values) > 1 else 0.0]
        for key, values in columns.items()
    }


def _print(shown: dict[str, Any]) -> None:
    for factor, inputs in shown["probes"].items():
        found = ", ".join(f"{key} {result['mean']:.3f} ± {result['std']:.3f}" for key, result in inputs.items())
        print(f"probe of {factor}: {found}; chance {next(iter(inputs.values()))['chance']:.3f}")
    for facet, found in shown["swaps"].items():
        if found is not None:
            kept = ", ".join(f"{other} kept {part:.3f}" for other, part in found["kept"].items())
            print(f"{facet} exchanged: changed {found['changed']:.3f}, arrived {found['arrived']:.3f}, {kept}")


if __name__ == "__main__":
    main()
