"""The paper's numbers for an experiment that ``benchmarks.accuracy`` has trained.

    python -m benchmarks.accuracy mnist_fast --seeds 0 1 2
    python -m benchmarks.paper mnist_fast

writes probes (table 1), the swap test, sample diversity (table 7), loss forms (Fig. 7) and independence, all of the
selected seed, into ``benchmarks/results/paper-<experiment>.json``; pictures go to ``benchmarks/data/paper/``.
"""

import argparse
from typing import Any

from benchmarks.accuracy import ROOT
from benchmarks.machine import describe_machine
from pipeline.config import load_params
from pipeline.evaluation import paper_results, write_paper
from pipeline.layout import Layout
from pipeline.report import write_paper_figures
from pipeline.storage import write_json

_SHOWN = ("source", "model_version", "probes", "swaps", "diversity", "lpips_missing", "loss_forms", "independence")


def main() -> None:
    """Compute, write, print probes and swaps."""
    parser = argparse.ArgumentParser(description="the paper's numbers of a trained experiment")
    parser.add_argument("experiment")
    name = parser.parse_args().experiment
    layout = Layout(ROOT / "benchmarks" / "data" / name, name)
    results = paper_results(layout, load_params(layout.root).experiment(name).report.temperature)
    folder = ROOT / "benchmarks" / "data" / "paper" / name
    write_paper([results], folder)
    write_paper_figures(folder)
    shown = {key: results.tables[key] for key in _SHOWN}
    head = {"command": f"python -m benchmarks.paper {name}", "machine": describe_machine()}
    write_json(ROOT / "benchmarks" / "results" / f"paper-{name}.json", {**head, **shown})
    _print(shown)


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
