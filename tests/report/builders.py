"""Small made-up models and published versions for tests of the page; no training, no torch."""

from collections.abc import Sequence
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from pipeline.report import compose, rows, write_assets, write_thumbnails
from pipeline.report.showcase import CrossShow, FacetShow, Pool, PoolAssignment, Showcase, SwapShow
from pipeline.storage import write_json

MODEL_VERSION = "m-0123456789ab"

Shape = tuple[int, int, int]


def render(ids: np.ndarray, shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """Draw uint8 images whose ground, digit, frame and corner follow the components of facets 0 to 3."""
    channels, height, width = shape
    digits = load_digits(return_X_y=True)[0].reshape(-1, 8, 8)
    canvas = np.zeros((len(ids), channels, height, width))
    for image, row in zip(canvas, ids, strict=True):
        digit = digits[int(row[1] if len(row) > 1 else row[0]) % 10] / 16
        resized = Image.fromarray((digit * 255).astype(np.uint8)).resize((width, height), Image.Resampling.BILINEAR)
        ground = np.array([0.10 + 0.16 * ((row[0] * (c + 2)) % 4) for c in range(channels)])
        image += ground[:, None, None]
        image += np.asarray(resized)[None] / 255 * (1 - ground)[:, None, None]
        if len(row) > 2:
            image[:, 0], image[:, -1] = 0.3 * (row[2] % 4), 0.3 * (row[2] % 4)
        if len(row) > 3:
            image[:, : height // 4, : width // 4] = 0.25 * (row[3] % 5)
    return ((canvas + rng.normal(0, 0.04, canvas.shape)).clip(0, 1) * 255).astype(np.uint8)


def make_showcase(
    shape: Shape = (1, 8, 8),
    n_components: Sequence[int] = (4, 6),
    n_images: int = 240,
    empty: Sequence[tuple[int, int]] = (),
    has_labels: bool = True,
    n_examples: int = 12,
) -> Showcase:
    """Make what stage report would have made of images whose clusters are known.

    Args:
        shape: channels, height and width of the images.
        n_components: of each facet.
        n_images: all of them are in the pool.
        empty: (facet, component) pairs without images.
        has_labels: whether there is a label factor, equal to the last facet's component up to ten values.
        n_examples: examples a cluster at most.
    """
    rng = np.random.default_rng(0)
    used = [[c for c in range(k) if (j, c) not in empty] for j, k in enumerate(n_components)]
    ids = np.stack([rng.choice(components, n_images) for components in used], axis=1)
    pool = Pool(
        images=render(ids, shape, rng),
        image_ids=np.array([f"i-{n:016x}" for n in range(n_images)]),
        is_test=np.arange(n_images) % 5 == 0,
        is_sampled=np.arange(n_images) % 4 != 3,
        labels={"digit": ids[:, -1] % 10} if has_labels else {},
    )
    facets = [_facet(ids[:, j], k, pool, shape, n_examples, rng) for j, k in enumerate(n_components)]
    return Showcase(
        experiment="toy",
        model_version=MODEL_VERSION,
        n_train=int((~pool.is_test).sum()),
        n_test=int(pool.is_test.sum()),
        temperature=0.5,
        pool=pool,
        label_values={"digit": np.unique(ids[:, -1] % 10)} if has_labels else {},
        facets=facets,
        crosses=[_cross(ids, n_components, pair, shape, rng) for pair in combinations(range(len(n_components)), 2)],
        swaps=_swaps(ids, shape, rng) if len(n_components) > 1 else None,
    )


@cache
def two_facets() -> Showcase:
    """The showcase of most tests: two facets, one empty cluster, labels."""
    return make_showcase(empty=[(1, 2)])


def _facet(ids: np.ndarray, k: int, pool: Pool, shape: Shape, n_examples: int, rng: np.random.Generator) -> FacetShow:
    n_images = len(ids)
    confidence = rng.beta(8, 1.2, n_images).clip(0.3)
    centres = rng.normal(0, 3, (k, 3))
    latents = centres[ids] + rng.normal(0, 0.5, (n_images, 3))
    typicality = -((latents - centres[ids]) ** 2).sum(axis=1)
    sizes = np.bincount(ids, minlength=k)
    order = np.argsort(-confidence)
    members = [order[ids[order] == c] for c in range(k)]
    means = np.array([confidence[ids == c].mean() if size else np.nan for c, size in enumerate(sizes)])
    others = max(0, min(3, int((sizes > 0).sum()) - 1))
    labels = {
        name: np.array([[int(((ids == c) & (values == v)).sum()) for v in np.unique(values)] for c in range(k)])
        for name, values in pool.labels.items()
    }
    fake = np.repeat(np.arange(k), 4)
    return FacetShow(
        pool=PoolAssignment(
            cluster_id=ids,
            confidence=confidence,
            entropy=(1 - confidence) * 2,
            typicality=typicality,
            runner_up=(ids + 1) % k if k > 1 else np.full(n_images, -1),
            runner_up_confidence=(1 - confidence) if k > 1 else np.zeros(n_images),
            latents=latents,
            places=latents[:, :2],
        ),
        sizes=sizes,
        mean_confidence=means,
        histogram=np.array([np.histogram(confidence[ids == c], 10, (0, 1))[0] for c in range(k)]),
        by_confidence=np.argsort(-np.nan_to_num(means)),
        by_similarity=np.argsort(centres[:, 0]),
        neighbours=np.array(
            [[c for c in np.argsort(-sizes) if c != own][:others] for own in range(k)], np.int64
        ).reshape(k, others),
        examples=[chosen[:n_examples] for chosen in members],
        borderline=[chosen[::-1][:6] for chosen in members],
        unusual=np.argsort(typicality)[:20],
        uncertain=np.argsort(confidence)[:20],
        generated=render(np.stack([fake, fake], axis=1), shape, rng).reshape(k, 4, *shape),
        label_counts=labels,
    )


def _cross(
    ids: np.ndarray, n_components: Sequence[int], pair: tuple[int, int], shape: Shape, rng: np.random.Generator
) -> CrossShow:
    first, second = pair
    shown = [np.unique(ids[:, j]) for j in pair]
    counts = np.zeros((n_components[first], n_components[second]), np.int64)
    np.add.at(counts, (ids[:, first], ids[:, second]), 1)
    examples = np.full((len(shown[0]), len(shown[1])), -1)
    for r, row in enumerate(shown[0]):
        for c, column in enumerate(shown[1]):
            found = np.flatnonzero((ids[:, first] == row) & (ids[:, second] == column))
            examples[r, c] = found[0] if len(found) else -1
    imagined = np.zeros((examples.size, len(n_components)), np.int64)
    imagined[:, first] = np.repeat(shown[0], len(shown[1]))
    imagined[:, second] = np.tile(shown[1], len(shown[0]))
    pictures = render(imagined, shape, rng).reshape(*examples.shape, *shape)
    return CrossShow(first, second, shown[0], shown[1], counts, examples, pictures)


def _swaps(ids: np.ndarray, shape: Shape, rng: np.random.Generator) -> SwapShow:
    anchors = np.arange(6)
    n_facets = ids.shape[1]
    mixed = np.empty((n_facets, 6, 6, n_facets), np.int64)
    for facet in range(n_facets):
        mixed[facet] = ids[anchors][:, None, :]
        mixed[facet, :, :, facet] = ids[anchors][None, :, facet]
    pictures = render(mixed.reshape(-1, n_facets), shape, rng)
    return SwapShow(anchors, pictures.reshape(n_facets, 6, 6, *shape), mixed)


def publish(root: Path, showcase: Showcase, *, has_batches: bool = True, longer_side: int = 32) -> rows.PageInput:
    """Stage a made-up model below ``root`` as publishing would, and return what publishing would say of it."""
    model_dir = root / "models" / MODEL_VERSION
    write_assets(model_dir / "report", showcase, longer_side)
    write_json(model_dir / "model.json", model_description(showcase))
    write_json(model_dir / "score" / "metrics.json", metrics(showcase))
    (model_dir / "history.csv").write_text(history(len(showcase.facets)))
    clusters = [
        rows.ClusterRow(
            facet=j,
            cluster_id=c,
            cluster_uid=f"f{j}-c{c:03d}" if size else None,
            name="thin strokes" if (j, c) == (0, 0) else None,
            note="named by hand" if (j, c) == (0, 0) else None,
            size=int(size),
            mean_confidence=None if np.isnan(facet.mean_confidence[c]) else float(facet.mean_confidence[c]),
            mixing_weight=1 / len(facet.sizes),
            minted_by=MODEL_VERSION,
        )
        for j, facet in enumerate(showcase.facets)
        for c, size in enumerate(facet.sizes)
    ]
    return rows.PageInput(
        experiment=showcase.experiment,
        version=3,
        model_version=MODEL_VERSION,
        created="2026-11-20T08:30:00+00:00",
        clusters=clusters,
        batches=_batches(root, showcase, has_batches),
        lineage=[rows.LineageRow(0, "f0-c901", "f0-c001", "merge", 12)],
    )


def write_page(root: Path, showcase: Showcase, *, has_batches: bool = True, longer_side: int = 32) -> Path:
    """Stage, publish and compose; return the page."""
    return compose(root, publish(root, showcase, has_batches=has_batches, longer_side=longer_side))


def _batches(root: Path, showcase: Showcase, has_batches: bool) -> list[rows.BatchRow]:
    test = showcase.pool.is_test
    splits = [("train", ~test), ("test", test)]
    found = [
        rows.BatchRow(name, "source", None, None, int(of.sum()), 0, 0, None, None, _sizes(showcase, of), None)
        for name, of in splits
    ]
    if not has_batches:
        return found
    for number, drifted in enumerate((False, True)):
        batch_id = f"b-{number:012x}"
        of = np.arange(len(test)) % (5 + number) == 0
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
        pairs = {
            f"facet_{i}-facet_{j}": {"mutual_information": 0.05, "normalised": 0.03, "chance": 0.02}
            for i, j in combinations(range(n_facets), 2)
        }
        return {"facets": {f"facet_{j}": {"factors": factors} for j in range(n_facets)}, "independence": pairs}

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
