"""Small made-up models for tests of what the page shows; no training, no torch."""

from collections.abc import Sequence
from functools import cache
from itertools import combinations

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from pipeline.report.showcase import CrossShow, FacetShow, Pool, PoolAssignment, Showcase, SwapShow

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
        redrawn=0.375,
        nearest=None,
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
            group_confidence=(1 + confidence) / 2,
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
    examples = np.full((len(shown[0]), len(shown[1])), -1)
    for r, row in enumerate(shown[0]):
        for c, column in enumerate(shown[1]):
            found = np.flatnonzero((ids[:, first] == row) & (ids[:, second] == column))
            examples[r, c] = found[0] if len(found) else -1
    imagined = np.zeros((examples.size, len(n_components)), np.int64)
    imagined[:, first] = np.repeat(shown[0], len(shown[1]))
    imagined[:, second] = np.tile(shown[1], len(shown[0]))
    pictures = render(imagined, shape, rng).reshape(*examples.shape, *shape)
    return CrossShow(first, second, shown[0], shown[1], examples, pictures)


def _swaps(ids: np.ndarray, shape: Shape, rng: np.random.Generator) -> SwapShow:
    anchors = np.arange(6)
    n_facets = ids.shape[1]
    mixed = np.empty((n_facets, 6, 6, n_facets), np.int64)
    for facet in range(n_facets):
        mixed[facet] = ids[anchors][:, None, :]
        mixed[facet, :, :, facet] = ids[anchors][None, :, facet]
    pictures = render(mixed.reshape(-1, n_facets), shape, rng)
    return SwapShow(anchors, pictures.reshape(n_facets, 6, 6, *shape), mixed)
