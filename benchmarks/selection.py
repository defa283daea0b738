"""Which criterion that is known without labels ranks seeds as accuracy would.

    python -m benchmarks.accuracy digits --seeds 0 1 2 3 4 5 6 7 8 9
    python -m benchmarks.selection digits

reads what the first command left below ``benchmarks/data/<experiment>/``, computes candidate criteria of every healthy
seed on images that were held out of training, and writes Spearman's rank correlation of each with the accuracy of the
facet that follows the labels best to ``benchmarks/results/selection-<experiment>.json``. Labels enter the correlation
alone.
"""

import argparse
import csv
from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Int
from scipy.stats import spearmanr

from benchmarks.accuracy import ROOT
from benchmarks.machine import describe_machine
from pipeline.core.layout import Layout
from pipeline.core.storage import read_json, write_json
from pipeline.evaluation.accuracy import contingency, entropy, mutual_information, normalised_mutual_information
from pipeline.paper.stability import seed_spread

Clusters = Int[np.ndarray, "facet image"]


def main() -> None:
    """Compute, write, print a table."""
    parser = argparse.ArgumentParser(description="label-free criteria beside accuracy, over the seeds of an experiment")
    parser.add_argument("experiment")
    experiment = parser.parse_args().experiment
    layout = Layout(ROOT / "benchmarks" / "data" / experiment, experiment)
    metrics = read_json(layout.artifact("score") / "metrics.json")
    (factor,) = metrics["classes"]
    accuracies = seed_spread(metrics, factor).by_seed
    values = criteria(layout, list(accuracies))
    found = {name: _correlation(of_seeds, accuracies) for name, of_seeds in values.items()}
    write_json(
        ROOT / "benchmarks" / "results" / f"selection-{experiment}.json",
        {
            "command": f"python -m benchmarks.selection {experiment}",
            "machine": describe_machine(),
            "accuracy_same_split": accuracies,
            "criteria": {name: {**found[name], "seeds": of_seeds} for name, of_seeds in values.items()},
        },
    )
    print(f"{len(accuracies)} seeds, mean accuracy {np.mean(list(accuracies.values())):.3f}")
    for name, record in sorted(found.items(), key=lambda item: -item[1]["rank_correlation"]):
        print(f"{name:<28} {record['rank_correlation']:+.2f}  would select {record['selected']:.3f}")


def criteria(layout: Layout, seeds: list[str]) -> dict[str, dict[str, float]]:
    """Return candidate criteria of each seed; the higher, the better the seed is thought to be."""
    last = _last_rows(layout)
    with np.load(layout.artifact("model") / "epochs.npz") as file:
        clusters = {seed: file[f"seed_{seed}"][-1].astype(np.int64) for seed in seeds}
    n_facets = len(clusters[seeds[0]])
    found = {
        "validation bound": {seed: last[seed]["elbo"] for seed in seeds},
        "log p(x | z)": {seed: last[seed]["log_px"] for seed in seeds},
        "agreement with other seeds": {seed: _agreement(clusters, seed) for seed in seeds},
        "independence of facets": {seed: -_shared(clusters[seed]) for seed in seeds},
    }
    for j in range(n_facets):
        found[f"less KL of facet {j}"] = {seed: -last[seed][f"kl_{j}"] for seed in seeds}
        found[f"less KL_c of facet {j}"] = {seed: -last[seed][f"kl_c_{j}"] for seed in seeds}
        found[f"entropy of facet {j}"] = {seed: entropy(np.bincount(clusters[seed][j])) for seed in seeds}
    return found


def _last_rows(layout: Layout) -> dict[str, dict[str, float]]:
    """Return each seed's last row on held-out images."""
    with (layout.artifact("model") / "history.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "validation"]
    return {row["seed"]: {key: float(value) for key, value in row.items() if key != "split"} for row in rows}


def _agreement(clusters: Mapping[str, Clusters], seed: str) -> float:
    """Return the mean, over other seeds, of how well its deepest facets agree (normalised mutual information)."""
    own = clusters[seed][-1]
    others = [of_seed[-1] for name, of_seed in clusters.items() if name != seed]
    return float(np.mean([normalised_mutual_information(_table(own, other)) for other in others]))


def _shared(clusters: Clusters) -> float:
    """Return what pairs of facets know of each other, nats."""
    pairs = [(i, j) for i, j in product(range(len(clusters)), repeat=2) if i < j]
    return float(sum(mutual_information(_table(clusters[i], clusters[j])) for i, j in pairs))


def _table(one: Int[np.ndarray, " image"], other: Int[np.ndarray, " image"]) -> Int[np.ndarray, "a b"]:
    return contingency(one, other, int(one.max()) + 1, int(other.max()) + 1)


def _correlation(values: Mapping[str, float], accuracies: Mapping[str, float]) -> dict[str, Any]:
    seeds = list(accuracies)
    result: Any = spearmanr([values[seed] for seed in seeds], [accuracies[seed] for seed in seeds])
    best = max(seeds, key=lambda seed: values[seed])
    return {"rank_correlation": float(result.statistic), "selected": accuracies[best]}


if __name__ == "__main__":
    main()
