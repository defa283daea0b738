"""What a clustering of raw pixels scores: no result of a model is read without it."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int32
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from pipeline.core.seeding import derive_seed, numpy_generator
from pipeline.core.shapes import Inputs
from pipeline.datasets.store.images import ImageStore
from pipeline.datasets.store.spec import InputSpec
from pipeline.evaluation.clusters import image_blocks
from pipeline.model.inputs import as_floats

_FIT_BYTES = 512 * 2**20  # most that the fit may hold of pixels, as float32
_RESTARTS = 10  # of k-means; the run with the smallest inertia is kept
# Added to every pixel's variance (pixels in [0, 1]). On digits and MNIST the mixture is 7 and 6 points better with it
# than with 0.001: pixels that are constant within a component would decide everything.
_PIXEL_VARIANCE = 0.01
_CONFIDENCE_LEVEL = 0.95

Pixels2d = Float32[np.ndarray, "image pixel"]


@dataclass(frozen=True)
class Baseline:
    """A fitted clustering of raw pixels; ``predict`` maps pixels to components."""

    name: str
    predict: Callable[[Pixels2d], Any]


def fit_pixels(store: ImageStore, n_images: int) -> Pixels2d:
    """Draw at most ``n_images`` images with a fixed seed, as pixels in [0, 1]; fewer where they pass 512 MiB."""
    n = min(n_images, store.n_images, max(1, _FIT_BYTES // (4 * store.spec.n_numbers)))
    rows = np.sort(numpy_generator(0, "baselines", "rows").permutation(store.n_images)[:n])
    return _as_pixels(store.spec, torch.from_numpy(store.take(rows)))


def fit_baselines(pixels: Pixels2d, n_components: int, start: int = 0) -> list[Baseline]:
    """Fit k-means and a Gaussian mixture with diagonal covariance, both seeded.

    Args:
        pixels: training images (see :func:`fit_pixels`).
        n_components: clusters, as many as the facet has that is compared.
        start: another one begins elsewhere.
    """
    seed = derive_seed(start, "baselines", n_components) % 2**32
    kmeans = KMeans(n_components, n_init=_RESTARTS, random_state=seed)  # pyright: ignore[reportArgumentType]
    mixture = GaussianMixture(n_components, covariance_type="diag", reg_covar=_PIXEL_VARIANCE, random_state=seed)
    with warnings.catch_warnings():
        # Fewer distinct images than clusters, or an iteration limit reached: the baseline is then what it is.
        warnings.simplefilter("ignore", ConvergenceWarning)
        kmeans.fit(pixels)
        mixture.fit(pixels)
    return [Baseline("kmeans", kmeans.predict), Baseline("mixture", mixture.predict)]


def predict_split(baselines: list[Baseline], store: ImageStore) -> list[Int32[np.ndarray, " image"]]:
    """Return the component of every image of a store, for every baseline, reading the store once."""
    clusters = [np.empty(store.n_images, np.int32) for _ in baselines]
    for rows, images in image_blocks(store):
        pixels = _as_pixels(store.spec, images)
        for ids, baseline in zip(clusters, baselines, strict=True):
            ids[rows] = baseline.predict(pixels)
    return clusters


@dataclass(frozen=True)
class PairedDifference:
    """Accuracy of a model minus that of a baseline on the same images, with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


def paired_bootstrap(
    model_correct: Bool[np.ndarray, " image"], baseline_correct: Bool[np.ndarray, " image"], resamples: int
) -> PairedDifference:
    """Resample images with replacement and take percentiles of the difference in accuracy.

    An image contributes -1, 0 or 1, so a resample is one multinomial draw of the three counts.

    Args:
        model_correct: whether the model is right on each image.
        baseline_correct: whether the baseline is right on the same images.
        resamples: how many resamples.
    """
    n_images = len(model_correct)
    difference = model_correct.astype(np.int64) - baseline_correct
    share = np.bincount(difference + 1, minlength=3) / n_images
    counts = numpy_generator(0, "bootstrap").multinomial(n_images, share, size=resamples)
    drawn = (counts[:, 2] - counts[:, 0]) / n_images
    tail = (1 - _CONFIDENCE_LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return PairedDifference(float(difference.mean()), float(low), float(high))


def _as_pixels(spec: InputSpec, images: Inputs) -> Pixels2d:
    return as_floats(spec, images, torch.float32).flatten(1).numpy()
