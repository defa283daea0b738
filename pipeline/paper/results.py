"""Every table and figure of the paper, computed from one trained experiment; its selected seed unless said."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from pipeline.core.errors import ResourceError
from pipeline.core.layout import Layout
from pipeline.core.progress import Progress, progress
from pipeline.core.upgrades import SCORES, read_record
from pipeline.datasets.store.images import ImageStore
from pipeline.evaluation.clusters import FacetClusters, cluster_split, take_images
from pipeline.evaluation.keys import facet_key
from pipeline.evaluation.labels import Factor, read_factors
from pipeline.model import FrozenModel, load_model
from pipeline.model.inputs import as_pictures
from pipeline.paper.diversity import (
    Distance,
    consecutive_pairs,
    diversity,
    latent_distance,
    lpips_distance,
    pixel_distance,
    real_pairs,
)
from pipeline.paper.generation import cluster_samples, model_samples
from pipeline.paper.loss_forms import compare_loss_forms
from pipeline.paper.probes import probe_table
from pipeline.paper.stability import seed_spread
from pipeline.paper.swaps import swap_score
from pipeline.paper.titles import cluster_titles
from pipeline.report.selection import order_by_confidence, surest_members

SCHEMA = 1

SAMPLES = 60_000
"""Generated images of table 7, as many as in the paper."""

_COLUMNS = 10  # images a cluster in Fig. 4 and 6
_SWAP_IMAGES = 8  # rows and columns of Fig. 5
_SWAP_PAIRS = 1000
_LOSS_IMAGES = 128
_STEPS = 4


@dataclass(frozen=True)
class PaperResults:
    """What the paper shows, of one experiment.

    Attributes:
        tables: nested dictionary of every number; keys as in docs.
        pictures: uint8 arrays by name. For every facet ``examples_facet_j`` (cluster, image, channel, height, width;
            places without an image are white), ``samples_facet_j`` of the same clusters in the same order, and
            ``swaps_facet_j`` (row keeps, column gives the facet), whose originals are ``swap_images``.
    """

    tables: dict[str, Any]
    pictures: Mapping[str, UInt8[np.ndarray, "..."]]


def paper_results(layout: Layout, temperature: float, n_samples: int = SAMPLES) -> PaperResults:
    """Compute everything; takes minutes, most of them for the probes.

    Args:
        layout: an experiment whose stages up to score have run.
        temperature: τ of generated images (report section).
        n_samples: generated images of table 7; each is in one pair.

    Raises:
        DataError: an output of a stage is missing or damaged.
        ModelError: the model is damaged.
    """
    metrics = read_record(layout.artifact("score") / "metrics.json", SCORES)
    model = load_model(layout.artifact("model"))
    with ImageStore(layout.prepared / "train.h5") as train, ImageStore(layout.prepared / "test.h5") as test:
        factors = read_factors(layout.prepared, train, test)
        with progress(f"paper {layout.experiment}: clusters", test.n_images) as bar:
            clusters = cluster_split(model, test, bar)
        distances, missing = _distances(model, test)
        with progress(f"paper {layout.experiment}", _STEPS, unit="part") as bar:
            tables = {
                "schema": SCHEMA,
                "experiment": layout.experiment,
                "source": str(test.attributes["source"]),
                "model_version": model.model_version,
                "accuracy": _accuracies(metrics, factors),
                "facet_factor": _facet_factor(metrics),
                "independence": metrics["selected"]["independence"],
                "epochs": metrics["epochs"],
                "epochs_of": metrics["epochs_of"],
                "temperature": temperature,
                **_measured(model, train, test, factors, clusters, bar),
                "diversity": _diversities(model, test, distances, temperature, n_samples // 2),
                "lpips_missing": missing,
            }
            swapped = swap_candidates(clusters, _SWAP_IMAGES)
            pictures, rows = _pictures(model, test, clusters, swapped, temperature)
            bar.advance()
    words = {
        "clusters": rows,
        "swap_clusters": {facet_key(j): facet.cluster_id[swapped].tolist() for j, facet in enumerate(clusters)},
        "titles": cluster_titles(layout, model.model_version, clusters),
    }
    return PaperResults({**tables, **words}, pictures)


def _measured(
    model: FrozenModel,
    train: ImageStore,
    test: ImageStore,
    factors: Mapping[str, Factor],
    clusters: Sequence[FacetClusters],
    bar: Progress,
) -> dict[str, Any]:
    ids = [facet.cluster_id for facet in clusters]
    swaps = {facet_key(j): swap_score(model, test, ids, j, _SWAP_PAIRS) for j in range(model.n_facets)}
    bar.advance(note="swaps")
    forms = compare_loss_forms(model, take_images(test, np.arange(min(_LOSS_IMAGES, test.n_images))), seed=0)
    bar.advance(note="loss forms")
    probes = probe_table(model, train, test, factors)
    bar.advance(note="probes")
    return {
        "swaps": {facet: None if found is None else asdict(found) for facet, found in swaps.items()},
        "loss_forms": asdict(forms),
        "probes": {name: {key: asdict(found) for key, found in row.items()} for name, row in probes.items()},
    }


def _accuracies(metrics: Mapping[str, Any], factors: Mapping[str, Factor]) -> dict[str, Any]:
    """Return the scores over seeds of the facet that follows each factor best, and of the baselines of its size."""
    found = {}
    for name in factors:
        spread = seed_spread(metrics, name)
        trees = {part: metrics[part]["facets"][spread.facet]["factors"][name] for part in ("mean", "std", "selected")}
        baselines = metrics["baselines"].get(spread.facet, {})
        found[name] = {
            "facet": spread.facet,
            "n_seeds": spread.n_seeds,
            "spread": asdict(spread),
            "baselines": {method: baselines[method][name] for method in ("kmeans", "mixture") if baselines},
            **trees,
        }
    return found


def _facet_factor(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return accuracy, chance level and information of the selected seed for every facet and factor."""
    return {facet: tree["factors"] for facet, tree in metrics["selected"]["facets"].items()}


def _distances(model: FrozenModel, test: ImageStore) -> tuple[dict[str, Distance], str | None]:
    distances: dict[str, Distance] = {"pixel": pixel_distance(model.spec), "latent": latent_distance(model, test)}
    try:
        return {"lpips": lpips_distance(model.spec), **distances}, None
    except ResourceError as error:
        return distances, str(error)


def _diversities(
    model: FrozenModel, test: ImageStore, distances: Mapping[str, Distance], temperature: float, n_pairs: int
) -> dict[str, Any]:
    """Return by distance what random pairs differ by; nothing where there are no two images."""
    if test.n_images < 2:
        return {}
    return {
        name: {
            "real": asdict(diversity(real_pairs(test, n_pairs), distance)),
            "generated": asdict(
                diversity(consecutive_pairs(model_samples(model, 2 * n_pairs, temperature, seed=0)), distance)
            ),
        }
        for name, distance in distances.items()
    }


def _pictures(
    model: FrozenModel,
    test: ImageStore,
    clusters: Sequence[FacetClusters],
    swap_rows: np.ndarray,
    temperature: float,
) -> tuple[dict[str, UInt8[np.ndarray, "..."]], dict[str, list[int]]]:
    rows = {facet_key(j): _surest_clusters(facet) for j, facet in enumerate(clusters)}
    swapped = take_images(test, swap_rows)
    means = [qz.mean for qz in model.encode(swapped)]
    pictures: dict[str, UInt8[np.ndarray, "..."]] = {"swap_images": test.spec.as_pictures(swapped.numpy())}
    for j, facet in enumerate(clusters):
        key = facet_key(j)
        surest = surest_members(facet, facet.n_components, _COLUMNS)
        members = [surest[component] for component in rows[key]]
        examples = np.full((len(members), _COLUMNS, *test.spec.shape), 255, np.uint8)
        for row, images in enumerate(members):
            examples[row, : len(images)] = test.spec.as_pictures(take_images(test, images).numpy())
        pictures[f"examples_{key}"] = examples
        pictures[f"samples_{key}"] = cluster_samples(model, j, rows[key], _COLUMNS, temperature, seed=0)
        pictures[f"swaps_{key}"] = as_pictures(model.spec, model.swap_grid(means, j))
    return pictures, rows


def _surest_clusters(facet: FacetClusters) -> list[int]:
    """Return the clusters that hold images, in the order of Fig. 4."""
    order = order_by_confidence(facet, np.ones(len(facet.cluster_id), bool), facet.n_components)
    return order[np.isin(order, facet.cluster_id)].tolist()


def swap_candidates(clusters: Sequence[FacetClusters], n_images: int) -> np.ndarray:
    """Return rows of sure images that differ in the clusters of as many facets as possible.

    Images are taken by their least confidence over facets, each new one from the clusters taken least so far.
    """
    confidence = np.min([facet.confidence for facet in clusters], axis=0)
    taken = [np.zeros(facet.n_components) for facet in clusters]
    chosen: list[int] = []
    for _ in range(min(n_images, len(confidence))):
        repeats = np.sum([counts[facet.cluster_id] for counts, facet in zip(taken, clusters, strict=True)], axis=0)
        score = confidence - repeats
        score[chosen] = -np.inf
        best = int(score.argmax())
        chosen.append(best)
        for counts, facet in zip(taken, clusters, strict=True):
            counts[facet.cluster_id[best]] += 1
    return np.array(chosen, dtype=np.int64)
