"""Groups beside the components that they join, over ensembles of five seeds.

    python -m benchmarks.accuracy digits --seeds $(seq 100 129)
    python -m benchmarks.groups digits

reads what the first command left below ``benchmarks/data/<experiment>/``, takes the seeds five at a time, in order, as
if no others had been trained, and forms the groups of the one that would be published. What labels say of its
components and of its groups on the test split goes to ``benchmarks/results/groups-<experiment>.json``. Means and
deviations are over the ensembles that did not develop the method.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch

from benchmarks.accuracy import ROOT
from benchmarks.machine import describe_machine
from pipeline.core.groups import FacetGroups, ModelGroups
from pipeline.core.layout import Layout
from pipeline.core.progress import silence
from pipeline.core.seeding import numpy_generator
from pipeline.core.storage import write_json
from pipeline.core.upgrades import read_model_file
from pipeline.datasets.store.images import ImageStore
from pipeline.evaluation.agreement import Clustering, agreement
from pipeline.evaluation.clusters import FacetClusters, cluster_split
from pipeline.evaluation.keys import facet_key
from pipeline.evaluation.labels import Factor, read_factors
from pipeline.groups import GROUP_IMAGES, find_groups
from pipeline.model import load_model
from pipeline.training import SeedOutcome, select_seed

_ENSEMBLE = 5
_DEVELOPED = {"digits": range(100, 110), "digits_ladder": range(100, 110)}
"""Seeds on which the method was developed."""

_LEVELS = ("components", "groups")
_SCORES = ("accuracy", "hungarian", "ari", "nmi")


def main() -> None:
    """Compute, write, print a table."""
    parser = argparse.ArgumentParser(description="groups beside components, over ensembles of five seeds")
    parser.add_argument("experiment")
    experiment = parser.parse_args().experiment
    layout = Layout(ROOT / "benchmarks" / "data" / experiment, experiment)
    found = [_ensemble(layout, seeds) for seeds in ensembles(layout)]
    others = [one["facets"] for one in found if not set(one["seeds"]) & set(_DEVELOPED.get(experiment, ()))]
    result = {
        "command": f"python -m benchmarks.groups {experiment}",
        "machine": describe_machine(),
        "ensembles": found,
        "n_confirming": len(others),
        "mean": _over(others, mean),
        "std": _over(others, stdev) if len(others) > 1 else None,
    }
    write_json(ROOT / "benchmarks" / "results" / f"groups-{experiment}.json", result)
    for one in found:
        _show(f"seeds {' '.join(map(str, one['seeds']))}: {one['published']} published", one["facets"])
    _show(f"mean of the {len(others)} that did not develop the method", result["mean"])
    _show("standard deviation", result["std"] or {})


def ensembles(layout: Layout) -> list[list[SeedOutcome]]:
    """Return the experiment's seeds by five, healthy or not."""
    records = read_model_file(layout.artifact("model"))["seeds"]
    outcomes = sorted(map(SeedOutcome.from_description, records), key=lambda outcome: outcome.seed)
    return [outcomes[start : start + _ENSEMBLE] for start in range(0, len(outcomes), _ENSEMBLE)]


def published_of(ensemble: Sequence[SeedOutcome]) -> SeedOutcome:
    """Return the seed that would be published; the one with the best bound where an old release trained them."""
    healthy = [outcome for outcome in ensemble if outcome.is_healthy]
    if any(facet.certainty is None for outcome in healthy for facet in outcome.facets):
        return max(healthy, key=lambda outcome: outcome.validation_elbo or float("-inf"))
    return select_seed(ensemble, 1)


def _ensemble(layout: Layout, ensemble: Sequence[SeedOutcome]) -> dict[str, Any]:
    published, folder = published_of(ensemble).seed, layout.artifact("model")
    others = [one.seed for one in ensemble if one.is_healthy and one.seed != published]
    model = load_model(folder, published)
    with (
        ImageStore(layout.prepared / "train.h5") as train,
        ImageStore(layout.prepared / "test.h5") as test,
        silence() as bar,
    ):
        loaded = ((seed, load_model(folder, seed).vae) for seed in others)
        groups = find_groups(model.vae, published, loaded, _sample(train))
        splits = zip(cluster_split(model, train, bar), cluster_split(model, test, bar), strict=True)
        factors = read_factors(layout.prepared, train, test)
    return {
        "seeds": [one.seed for one in ensemble],
        "healthy": sorted([published, *others]),
        "published": published,
        "facets": _facets(list(splits), groups, factors),
    }


def _sample(train: ImageStore) -> torch.Tensor:
    rows = numpy_generator(0, "train", "groups").permutation(train.n_images)[:GROUP_IMAGES]
    return torch.from_numpy(train.take(np.sort(rows)))


def _facets(
    splits: Sequence[tuple[FacetClusters, FacetClusters]], groups: ModelGroups, factors: Mapping[str, Factor]
) -> dict[str, Any]:
    return {
        facet_key(j): {
            "n_groups": facet.n_groups,
            "certainty": facet.certainty,
            "reproducibility": facet.reproducibility,
            **{name: _levels(train, test, facet, factor) for name, factor in factors.items()},
        }
        for j, ((train, test), facet) in enumerate(zip(splits, groups.facets, strict=True))
    }


def _levels(train: FacetClusters, test: FacetClusters, groups: FacetGroups, factor: Factor) -> dict[str, Any]:
    group = np.array(groups.component_group)
    components = Clustering(train.cluster_id, test.cluster_id, test.n_components)
    joined = Clustering(group[train.cluster_id], group[test.cluster_id], groups.n_groups)
    scores = [agreement(clusters, factor) for clusters in (components, joined)]
    return {
        level: {name: getattr(found, name) for name in _SCORES} for level, found in zip(_LEVELS, scores, strict=True)
    }


def _over(trees: Sequence[Any], statistic: Callable[[Sequence[float]], float]) -> Any:
    if isinstance(trees[0], Mapping):
        return {key: _over([tree[key] for tree in trees], statistic) for key in trees[0]}
    return None if None in trees else statistic(trees)


def _show(title: str, facets: Mapping[str, Any]) -> None:
    print(title)
    for facet, found in facets.items():
        print(f"  {facet}: {found['n_groups']:.4g} groups, certainty {found['certainty']:.2f}")
        for factor in found.keys() - {"n_groups", "certainty", "reproducibility"}:
            for level in _LEVELS:
                scores = "  ".join(f"{name} {found[factor][level][name]:.3f}" for name in _SCORES)
                print(f"    {factor:<12} {level:<12} {scores}")


if __name__ == "__main__":
    main()
