"""Which criterion that is known without labels ranks seeds as their scores would.

    python -m benchmarks.accuracy digits --seeds 100 101 102 103 104 105 106 107 108 109
    python -m benchmarks.selection digits

reads what the first command left below ``benchmarks/data/<experiment>/``, computes candidate criteria of every healthy
seed, and writes to ``benchmarks/results/selection-<experiment>.json`` how each ranks the seeds: Spearman's correlation
with their score, with an interval, and the mean score of the seeds that it picks out of every five. Criteria that
compare seeds know no more of them than a rebuild does: for the correlation the seeds are taken five at a time, in
order, and a pick out of five has seen these five alone. A seed's score is the mean over label factors of the normalised
mutual information of its best facet with the factor, on the images that were held out of training: a rule that is
chosen here has seen no test image. Labels enter there alone.
"""

import argparse
import csv
from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.stats import norm, spearmanr
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from benchmarks.accuracy import ROOT
from benchmarks.machine import describe_machine
from pipeline.config import load_params
from pipeline.core.contingency import contingency, normalised_mutual_information
from pipeline.core.layout import Layout
from pipeline.core.seeding import numpy_generator
from pipeline.core.storage import read_json, write_json
from pipeline.datasets.store.images import ImageStore
from pipeline.evaluation.labels import read_factors
from pipeline.model import load_model
from pipeline.training.images import load_training_images
from pipeline.training.selection import SeedOutcome, pooled

_PICK_OF = 5
_MOST_PICKS = 20_000  # subsets of five seeds that are looked at
_N_IMAGES = 2000
_N_BOOTSTRAPS = 4

Values = Float[np.ndarray, " seed"]
Criterion = Callable[[Sequence[int]], Values]
"""From seeds trained beside each other, by their places, to what is thought of each: the higher, the better."""


def main() -> None:
    """Compute, write, print a table."""
    parser = argparse.ArgumentParser(description="label-free criteria beside scores, over the seeds of an experiment")
    parser.add_argument("experiment")
    experiment = parser.parse_args().experiment
    layout = Layout(ROOT / "benchmarks" / "data" / experiment, experiment)
    seeds = sorted(read_json(layout.artifact("score") / "metrics.json")["seeds"], key=int)
    fraction = load_params(layout.root).experiment(experiment).train.validation_fraction
    scores = held_out_scores(layout, seeds, fraction)
    found = criteria(layout, seeds)
    table = {name: judge(values, scores) for name, values in found.items()}
    write_json(
        ROOT / "benchmarks" / "results" / f"selection-{experiment}.json",
        {
            "command": f"python -m benchmarks.selection {experiment}",
            "machine": describe_machine(),
            "score": dict(zip(seeds, scores.tolist(), strict=True)),
            "mean": float(scores.mean()),
            "best_of_five": float(np.mean([scores[list(five)].max() for five in _fives(len(seeds))])),
            "criteria": table,
        },
    )
    print(f"{len(scores)} seeds, mean score {scores.mean():.3f}")
    for name, record in sorted(table.items(), key=lambda item: -item[1]["rank_correlation"]):
        low, high = record["interval"]
        print(f"{name:<42} {record['rank_correlation']:+.2f} ({low:+.2f} … {high:+.2f})  picks {record['picks']:.3f}")


def criteria(layout: Layout, seeds: Sequence[str]) -> dict[str, Criterion]:
    """Return candidate criteria."""
    bounds = held_out_bounds(layout.artifact("model") / "history.csv", seeds)
    latents, clusters, confidence = _read_facets(layout, seeds)
    alone = {f"held-out bound after phase {phase}": values for phase, values in enumerate(bounds)}
    alone["mean of the held-out bounds after each phase"] = bounds.mean(0)
    stability = np.array([_stability(*of_seed) for of_seed in zip(latents, clusters, strict=True)])
    for what, values in (("stability under resampling", stability), ("mean confidence", confidence)):
        alone[f"{what}, mean over facets"] = values.mean(1)
        alone |= {f"{what}, facet {j}": of_facet for j, of_facet in enumerate(values.T)}
    doubt = np.array([_doubt(layout, seed) for seed in seeds])
    alone["least doubt"] = -doubt
    found: dict[str, Criterion] = {name: partial(_of_each, values) for name, values in alone.items()}
    pairs = np.array([[_agreements(one, other) for other in clusters] for one in clusters])
    found["agreement with other seeds, mean over facets"] = lambda places: _agreement(pairs, places).mean(1)
    for j in range(pairs.shape[2]):
        found[f"agreement with other seeds, facet {j}"] = lambda places, j=j: _agreement(pairs, places)[:, j]
    found["least disagreement"] = lambda places: -_disagreement(pairs, places)
    found["least doubt and disagreement"] = lambda places: -np.log(doubt[list(places)] * _disagreement(pairs, places))
    return found


def _of_each(values: Values, places: Sequence[int]) -> Values:
    return values[list(places)]


def _agreement(
    pairs: Float[np.ndarray, "seed seed facet"], places: Sequence[int]
) -> Float[np.ndarray, "some_seed facet"]:
    """Return how far each of some seeds agrees with the others of them."""
    return (pairs[np.ix_(places, places)].sum(1) - 1) / (len(places) - 1)


def _disagreement(pairs: Float[np.ndarray, "seed seed facet"], places: Sequence[int]) -> Values:
    return np.array([pooled(1 - of_seed) for of_seed in _agreement(pairs, places)])


def held_out_bounds(path: Path, seeds: Sequence[str]) -> Float[np.ndarray, "phase seed"]:
    """Return each seed's bound on held-out images at the end of each phase, nats an image."""
    last: dict[tuple[str, int], float] = {}
    with path.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["split"] == "validation":
                last[row["seed"], int(row["phase"])] = float(row["elbo"])
    phases = sorted({phase for _, phase in last})
    return np.array([[last[seed, phase] for seed in seeds] for phase in phases])


def _doubt(layout: Layout, seed: str) -> float:
    records = read_json(layout.artifact("model") / "model.json")["seeds"]
    return next(SeedOutcome.from_description(one).doubt for one in records if str(one["seed"]) == seed)


def judge(criterion: Criterion, scores: Values) -> dict[str, Any]:
    """Return how a criterion ranks seeds: correlation, 95 % interval (Bonett and Wright, 2000), mean score of picks."""
    ensembles = np.array_split(np.arange(len(scores)), max(1, round(len(scores) / _PICK_OF)))
    values = np.concatenate([criterion(five.tolist()) for five in ensembles])
    result: Any = spearmanr(values, scores)
    correlation = float(result.statistic)
    deviation = np.sqrt((1 + correlation**2 / 2) / (len(scores) - 3))
    middle = np.arctanh(np.clip(correlation, -0.999, 0.999))
    low, high = np.tanh(middle + norm.ppf([0.025, 0.975]) * deviation)
    picks = [scores[five[int(np.argmax(criterion(five)))]] for five in _fives(len(scores))]
    return {
        "rank_correlation": correlation,
        "interval": [float(low), float(high)],
        "picks": float(np.mean(picks)),
        "seeds": values.tolist(),
    }


def _fives(n_seeds: int) -> list[tuple[int, ...]]:
    """Return all subsets of five seeds, or a regular part of very many."""
    found = list(combinations(range(n_seeds), min(_PICK_OF, n_seeds)))
    return found[:: max(1, -(-len(found) // _MOST_PICKS))]


def held_out_scores(layout: Layout, seeds: Sequence[str], fraction: float) -> Values:
    """Return how well each seed's facets follow labels on images that were held out of training.

    Args:
        layout: of the trained experiment.
        seeds: healthy ones.
        fraction: of the training split that was held out.
    """
    divided = load_training_images(layout.prepared / "train.h5", fraction, torch.device("cpu"))
    rows = divided.validation_rows
    if not len(rows):
        raise SystemExit("train.validation_fraction must be above 0: criteria are compared on held-out images")
    with ImageStore(layout.prepared / "train.h5") as train, ImageStore(layout.prepared / "test.h5") as test:
        factors = read_factors(layout.prepared, train, test)
    found, images = [], divided.some(rows)
    for seed in seeds:
        model = load_model(layout.artifact("model"), int(seed))
        clusters = [model.log_resp(j, qz, "exact").argmax(1).numpy() for j, qz in enumerate(model.encode(images))]
        of_facets = list(zip(clusters, model.params.n_components, strict=True))
        best = [
            max(
                normalised_mutual_information(contingency(ids, factor.train[rows], k, factor.n_classes))
                for ids, k in of_facets
            )
            for factor in factors.values()
        ]
        found.append(float(np.mean(best)))
    return np.array(found)


def _read_facets(
    layout: Layout, seeds: Sequence[str]
) -> tuple[list[list[np.ndarray]], list[list[np.ndarray]], Float[np.ndarray, "seed facet"]]:
    """Return latents and clusters by seed and facet of some training images, and the mean confidences."""
    with ImageStore(layout.prepared / "train.h5") as store:
        rows = numpy_generator(0, "selection").choice(store.n_images, min(_N_IMAGES, store.n_images), replace=False)
        images = torch.from_numpy(store.take(np.sort(rows)))
    latents, clusters, confidence = [], [], []
    for seed in seeds:
        model = load_model(layout.artifact("model"), int(seed))
        posteriors = model.encode(images)
        resp = [model.log_resp(j, qz).exp() for j, qz in enumerate(posteriors)]
        latents.append([qz.mean.numpy() for qz in posteriors])
        clusters.append([each.argmax(1).numpy() for each in resp])
        confidence.append([float(each.max(1).values.mean()) for each in resp])
    return latents, clusters, np.array(confidence)


def _agreements(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> list[float]:
    return [float(adjusted_rand_score(a, b)) for a, b in zip(one, other, strict=True)]


def _stability(latents: Sequence[np.ndarray], clusters: Sequence[Int[np.ndarray, " image"]]) -> list[float]:
    """Return how far mixtures fitted to bootstrap samples of a facet's latents agree with its clusters."""
    found = []
    for values, ids in zip(latents, clusters, strict=True):
        agreed = []
        for number in range(_N_BOOTSTRAPS):
            drawn = numpy_generator(0, "selection", number).integers(0, len(values), len(values))
            n_components, ridge = int(ids.max()) + 1, 1e-4 * float(values.var(0).mean())
            mixture = GaussianMixture(n_components, covariance_type="diag", reg_covar=ridge, random_state=number)
            agreed.append(adjusted_rand_score(ids, mixture.fit(values[drawn]).predict(values)))
        found.append(float(np.mean(agreed)))
    return found


if __name__ == "__main__":
    main()
