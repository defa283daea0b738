"""Published versions of the made-up models, and their pages."""

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.groups import FacetGroups, MergeTree, ModelGroups, write_groups
from pipeline.core.storage import write_json
from pipeline.core.upgrades import PARAMETERS
from pipeline.page import compose, rows
from pipeline.report import write_assets, write_thumbnails
from pipeline.report.showcase import Showcase
from tests.report.builders import MODEL_VERSION

ROOT = "file:///data/my%20pictures/"


def publish(root: Path, showcase: Showcase, *, has_batches: bool = True, longer_side: int = 32) -> rows.PageInput:
    """Stage a made-up model below ``root`` as publishing would, and return what publishing would say of it."""
    model_dir = root / "models" / MODEL_VERSION
    write_assets(model_dir / "report", showcase, longer_side)
    write_json(model_dir / "model.json", model_description(showcase))
    write_json(model_dir / "score" / "metrics.json", metrics(showcase))
    train: dict[str, Any] = {"ignores": [None] * (len(showcase.facets) - 1) + [{"rotate": 15.0, "shift": 10.0}]}
    write_json(model_dir / "params.json", PARAMETERS.stamp({"train": train}))
    found = groups(showcase)
    write_groups(model_dir, found)
    (model_dir / "history.csv").write_text(history(len(showcase.facets)))
    sizes = _published_sizes(showcase, has_batches)
    clusters = [
        rows.ClusterRow(
            facet=j,
            cluster_id=c,
            cluster_uid=f"f{j}-c{c:03d}" if size else None,
            name="thin strokes" if (j, c) == (0, 0) else None,
            note="named by hand" if (j, c) == (0, 0) else None,
            size=int(size),
            mean_confidence=None if np.isnan(facet.mean_confidence[c]) else float(facet.mean_confidence[c]),
            mixing_weight=1 / len(sizes[j]),
            minted_by=MODEL_VERSION,
            group_uid=f"f{j}-g{found.facets[j].component_group[c]:03d}",
            group_name="thin ones" if (j, found.facets[j].component_group[c]) == (1, 0) else None,
        )
        for j, facet in enumerate(showcase.facets)
        for c, size in enumerate(sizes[j])
    ]
    return rows.PageInput(
        experiment=showcase.experiment,
        version=3,
        model_version=MODEL_VERSION,
        created="2026-11-20T08:30:00+00:00",
        clusters=clusters,
        batches=_batches(root, showcase, has_batches),
        crosses=cross_counts(showcase, has_batches),
        lineage=[rows.LineageRow(0, "f0-c901", "f0-c001", "merge", 12)],
        files=files(showcase),
        aside=aside() if has_batches else (),
        copies=3 if has_batches else 0,
        rejected=[rows.RejectedRow("20261120T083000-scans.npy", "scans.npy: is empty")] if has_batches else (),
    )


def write_page(root: Path, showcase: Showcase, *, has_batches: bool = True, longer_side: int = 32) -> Path:
    """Stage, publish and compose; return the page."""
    return compose(root, publish(root, showcase, has_batches=has_batches, longer_side=longer_side))


def cross_counts(showcase: Showcase, has_batches: bool = True) -> dict[tuple[int, int], np.ndarray]:
    """Return how many images, those of the batches too, lie in each pair of clusters of two facets."""
    chosen = _published_images(showcase, has_batches)
    counts = {}
    for i, j in combinations(range(len(showcase.facets)), 2):
        counts[i, j] = np.zeros([len(showcase.facets[facet].sizes) for facet in (i, j)], np.int64)
        np.add.at(counts[i, j], tuple(showcase.facets[facet].pool.cluster_id[chosen] for facet in (i, j)), 1)
    return counts


def _published_sizes(showcase: Showcase, has_batches: bool) -> list[np.ndarray]:
    chosen = _published_images(showcase, has_batches)
    return [np.bincount(facet.pool.cluster_id[chosen], minlength=len(facet.sizes)) for facet in showcase.facets]


def _published_images(showcase: Showcase, has_batches: bool) -> np.ndarray:
    """Return places in the pool: all of them, and once more those that the batches are like."""
    everything = np.arange(len(showcase.pool.image_ids))
    return np.concatenate([everything, *(np.flatnonzero(of) for of in _delivered(showcase) if has_batches)])


def _delivered(showcase: Showcase) -> list[np.ndarray]:
    """Return for each of the two batches which images of the pool it is like."""
    return [np.arange(len(showcase.pool.image_ids)) % (5 + number) == 0 for number in (0, 1)]


def groups(showcase: Showcase) -> ModelGroups:
    """Return groups of two trainings or more: facet 0 has one group, each other facet all but two components alone."""

    def of_facet(index: int, n_components: int) -> FacetGroups:
        chain = tuple((0 if t == 0 else n_components + t - 1, t + 1) for t in range(n_components - 1))
        tree = MergeTree(chain, (0.2,) * (n_components - 1))
        n_groups = 1 if index == 0 else max(1, n_components - 1)
        share = (1 / n_groups,) * n_groups
        return FacetGroups(
            n_groups, 0.9, tuple(tree.cut(n_groups).tolist()), share, tree, 0.125 if index == 0 else 0.75
        )

    facets = tuple(of_facet(index, len(facet.sizes)) for index, facet in enumerate(showcase.facets))
    return ModelGroups("seeds", 8, 240, facets)


def files(showcase: Showcase) -> rows.Files:
    """Return names as a folder of two folders has them; some images have none."""
    ids, is_test = showcase.pool.image_ids.tolist(), showcase.pool.is_test.tolist()
    named = {
        image_id: rows.ImageFile("test" if in_test else "train", f"{('cats', 'dogs')[n % 2]}/Été {n:04d}.png")
        for n, (image_id, in_test) in enumerate(zip(ids, is_test, strict=True))
        if n % 10 != 9
    }
    return rows.Files(named, {"train": ROOT, "test": ROOT})


def aside() -> list[rows.AsideRow]:
    """Return 150 files set aside for three reasons, one of them in two batches."""
    animated = "is animated or has several pages; save each picture in a file of its own"
    return [
        rows.AsideRow("train", animated, 120, [f"cats/{n}.gif" for n in range(5)]),
        rows.AsideRow("b-000000000001", animated, 1, ["wave.gif"]),
        rows.AsideRow("train", "has … × … pixels, more than preprocess.max_pixels; reduce it", 29, ["maps/town.png"]),
    ]


def _batches(root: Path, showcase: Showcase, has_batches: bool) -> list[rows.BatchRow]:
    test = showcase.pool.is_test
    splits = [("train", ~test), ("test", test)]
    found = [
        rows.BatchRow(name, "source", None, None, int(of.sum()), 0, 0, None, None, _sizes(showcase, of), None)
        for name, of in splits
    ]
    if not has_batches:
        return found
    for number, (drifted, of) in enumerate(zip((False, True), _delivered(showcase), strict=True)):
        batch_id = f"b-{number:012x}"
        folder = root / f"thumbnails-{number}"
        write_thumbnails(folder, showcase.pool.images[of], showcase.pool.image_ids[of].tolist(), 32)
        drift = [0.02 + 0.3 * drifted] * len(showcase.facets)
        sizes, created = _sizes(showcase, of), f"2026-11-1{number}T10:00:00+00:00"
        row = rows.BatchRow(
            batch_id, "live", created, "camera-7", int(of.sum()), number, 2, drift, drifted, sizes, folder
        )
        found.append(row)
    return found


def _sizes(showcase: Showcase, of: np.ndarray) -> list[list[int]]:
    return [np.bincount(facet.pool.cluster_id[of], minlength=len(facet.sizes)).tolist() for facet in showcase.facets]


def model_description(showcase: Showcase) -> dict[str, Any]:
    """Return a ``model.json`` of two seeds, the second one unhealthy."""
    facets = [
        {
            "occupied": int((facet.sizes > 0).sum()),
            "max_share": float(facet.sizes.max() / facet.sizes.sum()),
            "entropy": 0.9,
            "active_units": facet.pool.latents.shape[1],
            "confidence": float(facet.pool.confidence.mean()),
        }
        for facet in showcase.facets
    ]
    seed = {"healthy": True, "reason": None, "epochs": 40, "facets": facets}
    bad = {"seed": 2, "healthy": False, "reason": "phase 1, step 20: kl_1 is not finite", "epochs": 12, "facets": []}
    return {
        "schema": 1,
        "experiment": showcase.experiment,
        "model_version": MODEL_VERSION,
        "selected_seed": 0,
        "selection": {"criterion": "validation_elbo", "reason": "highest ELBO on held-out images of 2 healthy seeds"},
        "model": {
            "family": "dense",
            "latent_dims": [3] * len(facets),
            "n_components": [len(f.sizes) for f in showcase.facets],
        },
        "image_shape": list(showcase.pool.images.shape[1:]),
        "trained_on": ["train"],
        "n_train": showcase.n_train,
        "runtime": {"device": "cpu", "precision": "float32", "threads": 2},
        "seeds": [
            seed | {"seed": 0, "validation_elbo": -12.5},
            seed | {"seed": 1, "validation_elbo": -13.25},
            bad | {"validation_elbo": None},
        ],
    }


def metrics(showcase: Showcase) -> dict[str, Any]:
    """Return a ``metrics.json`` in the format of stage score."""
    n_facets = len(showcase.facets)
    chance = {"accuracy": 0.2, "accuracy_same_split": 0.22, "hungarian": None}

    def tree(value: float, step: float = 0.1) -> dict[str, Any]:
        scores = {"accuracy": value, "accuracy_same_split": value + step / 5, "hungarian": None, "nmi": value - step}
        factors = {name: scores | {"ari": value - 2 * step, "chance": chance} for name in showcase.pool.labels}
        return {"facets": {f"facet_{j}": {"factors": factors} for j in range(n_facets)}}

    baseline = {name: tree(0.7)["facets"]["facet_0"]["factors"][name] for name in showcase.pool.labels}
    difference = {name: {"mean": 0.1, "low": 0.05, "high": 0.15} for name in showcase.pool.labels}
    methods = {"kmeans": baseline, "mixture": baseline, "selected_minus_kmeans": difference}
    return {
        "schema": 1,
        "selected": tree(0.8),
        "mean": tree(0.78),
        "std": tree(0.03, 0.0),
        "seeds": {"0": tree(0.8), "1": tree(0.76)},
        "classes": {name: len(values) for name, values in showcase.label_values.items()},
        "epochs": {
            name: {f"facet_{j}": {seed: [n / 50 for n in range(40)] for seed in ("0", "1")} for j in range(n_facets)}
            for name in showcase.pool.labels
        },
        "chance": {f"facet_{j}": dict.fromkeys(showcase.pool.labels, chance) for j in range(n_facets)},
        "baselines": {f"facet_{j}": methods for j in range(n_facets)} if baseline else {},
    }


def history(n_facets: int) -> str:
    """Return a ``history.csv`` of two seeds over 40 epochs; the second ends in a number that is not finite."""
    terms = [f"{name}_{j}" for j in range(n_facets) for name in ("kl", "kl_z", "kl_c")]
    lines = [",".join(["seed", "epoch", "phase", "split", "elbo", "log_px", *terms])]
    for seed in (0, 1):
        for epoch in range(40):
            for split in ("train", "validation"):
                elbo = -40 / (epoch + 1) - 12 - seed - (split == "validation")
                kls = [4.0 if split == "train" or not name.startswith("kl_z") else 3.0 for name in terms]
                values = [f"{elbo:.4f}", f"{elbo + 9:.4f}", *map(str, kls)]
                if split == "train":
                    values = [
                        v if not t.startswith(("kl_z", "kl_c")) else ""
                        for v, t in zip(values, ["", "", *terms], strict=True)
                    ]
                if (seed, epoch) == (1, 39):
                    values[0] = "nan"
                lines.append(",".join([str(seed), str(epoch), str(int(epoch >= 20)), split, *values]))
    return "\n".join(lines) + "\n"
