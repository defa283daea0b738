"""What stage score says about every healthy seed: agreement with labels, sizes, independence, baselines."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from jaxtyping import Int

from pipeline.config.sections import ScoreParams
from pipeline.core.contingency import entropy
from pipeline.core.errors import DataError, ModelError
from pipeline.core.groups import FacetGroups, read_groups
from pipeline.core.progress import progress
from pipeline.core.upgrades import SCORES, read_model_file
from pipeline.datasets.store.hints import read_prepared_hints
from pipeline.datasets.store.images import ImageStore
from pipeline.evaluation.agreement import Agreement, Clustering, agreement, correct_images
from pipeline.evaluation.baselines import fit_baselines, fit_pixels, paired_bootstrap, predict_split
from pipeline.evaluation.clusters import FacetClusters, cluster_split
from pipeline.evaluation.epochs import accuracy_by_epoch
from pipeline.evaluation.independence import dependence_of_all
from pipeline.evaluation.kept_aside import judge_hints
from pipeline.evaluation.keys import facet_key
from pipeline.evaluation.labels import Factor, read_factors
from pipeline.model import load_model
from pipeline.model.precision import best_device

Factors = Mapping[str, Factor]
Tree = dict[str, Any]


@dataclass(frozen=True)
class Score:
    """Result of stage score.

    Attributes:
        metrics: the nested dictionary that becomes ``metrics.json``.
        clusters: hard clusters of the selected seed, one a facet.
        factors: the label factors that were scored.
    """

    metrics: Tree
    clusters: Sequence[Clustering]
    factors: Factors


def score_models(model_dir: Path, prepared: Path, params: ScoreParams) -> Score:
    """Score every healthy seed of a trained experiment and, beside them, clusterings of raw pixels.

    Images about which people gave hints count in no score: what was kept aside of the hints is judged apart.

    Args:
        model_dir: output folder of stage train.
        prepared: output folder of stage preprocess.
        params: the score section.

    Raises:
        DataError: prepared images or labels are missing, damaged or empty.
        ModelError: the model is missing, damaged, or of another image shape.
    """
    description = read_model_file(model_dir)
    with ImageStore(prepared / "train.h5") as train, ImageStore(prepared / "test.h5") as test:
        _check_stores(train, test)
        hints = read_prepared_hints(prepared)
        factors = read_factors(prepared, train, test, hints)
        trees, selected = _score_seeds(model_dir, description, train, test, factors)
        baselines = _score_baselines(selected, train, test, factors, params) if params.baselines and factors else {}
    chosen, courses = trees[str(description["selected_seed"])], accuracy_by_epoch(model_dir, factors)
    metrics = {
        "schema": SCORES.schema,
        "experiment": description["experiment"],
        "model_version": description["model_version"],
        "selected_seed": description["selected_seed"],
        "unhealthy_seeds": [record["seed"] for record in description["seeds"] if not record["healthy"]],
        "n_train": len(selected[0].train),
        "n_test": len(selected[0].test),
        "classes": {name: factor.n_classes for name, factor in factors.items()},
        "seeds": trees,
        "mean": _over_seeds(list(trees.values()), mean),
        "std": _over_seeds(list(trees.values()), _sample_deviation),
        "selected": chosen,
        "chance": {
            facet: {name: scores["chance"] for name, scores in facet_tree["factors"].items()}
            for facet, facet_tree in chosen["facets"].items()
        },
        "groups": _groups_tree(model_dir, selected, factors),
        "hints": judge_hints(hints, selected, read_groups(model_dir)),
        "baselines": baselines,
        "epochs": courses.accuracies,
        "epochs_of": courses.of,
    }
    return Score(metrics, selected, factors)


def _check_stores(train: ImageStore, test: ImageStore) -> None:
    for store in (train, test):
        if store.n_images == 0:
            raise DataError(f"{store.path} must hold at least one image, got none; check the source and test_fraction")


def _score_seeds(
    model_dir: Path, description: Tree, train: ImageStore, test: ImageStore, factors: Factors
) -> tuple[dict[str, Tree], list[Clustering]]:
    healthy = [record["seed"] for record in description["seeds"] if record["healthy"]]
    trees: dict[str, Tree] = {}
    selected: list[Clustering] = []
    with progress("score", len(healthy) * (train.n_images + test.n_images)) as bar:
        for seed in healthy:
            model = load_model(model_dir, seed).to(best_device())
            if model.spec != train.spec:
                raise ModelError(
                    f"{model_dir} must hold a model of {train.spec}, as {train.path} does, got one of {model.spec}; "
                    "train it again"
                )
            splits = cluster_split(model, train, bar), cluster_split(model, test, bar)
            facets = list(zip(*splits, strict=True))
            trees[str(seed)] = _seed_tree(facets, factors)
            if seed == description["selected_seed"]:
                selected = [_published(*facet) for facet in facets]
    return trees, selected


def _seed_tree(facets: Sequence[tuple[FacetClusters, FacetClusters]], factors: Factors) -> Tree:
    on_test = [test for _, test in facets]
    pairs = dependence_of_all([test.cluster_id for test in on_test], [test.n_components for test in on_test])
    return {
        "facets": {facet_key(j): _facet_tree(train, test, factors) for j, (train, test) in enumerate(facets)},
        "independence": {f"{facet_key(i)}-{facet_key(j)}": asdict(found) for (i, j), found in pairs.items()},
    }


def _facet_tree(train: FacetClusters, test: FacetClusters, factors: Factors) -> Tree:
    sizes = np.bincount(test.cluster_id, minlength=test.n_components)
    train_sizes = np.bincount(train.cluster_id, minlength=train.n_components)
    at_mean = Clustering(train.cluster_id_at_mean, test.cluster_id_at_mean, test.n_components)
    published = _published(train, test)
    return {
        "n_components": test.n_components,
        "occupied": int((sizes > 0).sum()),
        "occupied_train": int((train_sizes > 0).sum()),
        "largest_share": float(sizes.max() / sizes.sum()),
        "size_entropy": relative_entropy(sizes),
        "confidence": float(test.confidence.mean(dtype=np.float64)),
        "factors": {name: asdict(agreement(published, factor, at_mean)) for name, factor in factors.items()},
    }


def relative_entropy(sizes: Int[np.ndarray, " component"]) -> float:
    """Return the entropy of cluster sizes over log K: 1 for equal sizes, 0 for one cluster alone."""
    return entropy(sizes) / float(np.log(len(sizes))) if len(sizes) > 1 else 0.0


def _published(train: FacetClusters, test: FacetClusters) -> Clustering:
    return Clustering(train.cluster_id, test.cluster_id, test.n_components)


def _groups_tree(model_dir: Path, selected: Sequence[Clustering], factors: Factors) -> Tree:
    """Score the groups of the selected seed as its components are scored; a model of an earlier release has none."""
    found = read_groups(model_dir)
    pairs = zip(selected, found.facets, strict=True) if found else ()
    return {facet_key(j): _of_groups(facet, groups, factors) for j, (facet, groups) in enumerate(pairs)}


def _of_groups(components: Clustering, groups: FacetGroups, factors: Factors) -> Tree:
    group = np.array(groups.component_group, np.int32)
    joined = Clustering(group[components.train], group[components.test], groups.n_groups)
    return {
        "n_groups": groups.n_groups,
        "certainty": groups.certainty,
        "reproducibility": groups.reproducibility,
        "factors": {name: asdict(agreement(joined, factor)) for name, factor in factors.items()},
    }


def _score_baselines(
    selected: Sequence[Clustering], train: ImageStore, test: ImageStore, factors: Factors, params: ScoreParams
) -> Tree:
    pixels = fit_pixels(train, params.baseline_images)
    sizes = sorted({facet.n_components for facet in selected})
    with progress("score: clusterings of raw pixels", len(sizes), unit="size") as bar:
        clusterings: dict[int, dict[str, Clustering]] = {}
        for n_components in sizes:
            fitted = fit_baselines(pixels, n_components)
            pairs = zip(predict_split(fitted, train), predict_split(fitted, test), strict=True)
            clusterings[n_components] = {
                baseline.name: Clustering(*ids, n_components) for baseline, ids in zip(fitted, pairs, strict=True)
            }
            bar.advance()
    return {
        facet_key(j): _baseline_tree(facet, clusterings[facet.n_components], factors, params.bootstrap)
        for j, facet in enumerate(selected)
    }


def _baseline_tree(model: Clustering, baselines: Mapping[str, Clustering], factors: Factors, resamples: int) -> Tree:
    scores: dict[str, dict[str, Agreement]] = {
        name: {factor: agreement(clusters, labels) for factor, labels in factors.items()}
        for name, clusters in baselines.items()
    }
    differences = {
        factor: asdict(
            paired_bootstrap(correct_images(model, labels), correct_images(baselines["kmeans"], labels), resamples)
        )
        for factor, labels in factors.items()
    }
    return {
        **{name: {factor: asdict(found) for factor, found in each.items()} for name, each in scores.items()},
        "selected_minus_kmeans": differences,
    }


def _over_seeds(trees: Sequence[Any], statistic: Any) -> Any:
    first = trees[0]
    if isinstance(first, Mapping):
        return {key: _over_seeds([tree[key] for tree in trees], statistic) for key in first}
    return None if first is None else statistic(trees)


def _sample_deviation(values: Sequence[int | float]) -> float | None:
    return stdev(values) if len(values) > 1 else None
