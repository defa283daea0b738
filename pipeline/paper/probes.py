"""What a supervised classifier can read from each facet's latent (paper, section 4.1 and table 1)."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from pipeline.core.progress import progress
from pipeline.core.seeding import derive_seed, torch_generator
from pipeline.datasets.store.images import ImageStore
from pipeline.evaluation.clusters import image_blocks
from pipeline.evaluation.keys import facet_key
from pipeline.evaluation.labels import Factor
from pipeline.model import FrozenModel

RUNS = 3
"""Runs of the paper; each draws new latents and a new network."""

ALL = "all"
"""Name of the input that holds the latents of all facets."""

LatentsOfFacets = Sequence[Float32[np.ndarray, "image _"]]


@dataclass(frozen=True)
class ProbeResult:
    """Test accuracy of one probe.

    Attributes:
        mean: over runs.
        std: sample standard deviation over runs, 0 for a single one.
        chance: share of the most frequent class of the training split among the test images.
        n_runs: how many runs.
    """

    mean: float
    std: float
    chance: float
    n_runs: int


def probe_table(
    model: FrozenModel, train: ImageStore, test: ImageStore, factors: Mapping[str, Factor], runs: int = RUNS
) -> dict[str, dict[str, ProbeResult]]:
    """Return the probe's result for every factor and input: each facet alone, and all together.

    Args:
        model: a trained model.
        train: images that the probes are fitted on.
        test: images that they are scored on.
        factors: the labels of both.
        runs: how often latents are drawn and a probe is fitted.
    """
    inputs = [facet_key(j) for j in range(model.n_facets)] + ([ALL] if model.n_facets > 1 else [])
    accuracies: dict[str, dict[str, list[float]]] = {name: {key: [] for key in inputs} for name in factors}
    with progress("probes", runs * len(factors) * len(inputs), unit="fit") as bar:
        for run in range(runs):
            drawn = [sampled_latents(model, store, derive_seed(run, store.path.stem)) for store in (train, test)]
            for name, factor in factors.items():
                for j, key in enumerate(inputs):
                    x = [latents[j] if j < model.n_facets else np.concatenate(latents, axis=1) for latents in drawn]
                    accuracies[name][key].append(probe_accuracy(x[0], factor.train, x[1], factor.test, run))
                    bar.advance()
    return {
        name: {key: _summary(values, factors[name]) for key, values in by_input.items()}
        for name, by_input in accuracies.items()
    }


def sampled_latents(model: FrozenModel, store: ImageStore, seed: int) -> LatentsOfFacets:
    """Draw one sample of q(z_j | x) for every image and facet."""
    generator = torch_generator(seed, "probes")
    facets = [np.empty((store.n_images, dim), np.float32) for dim in model.params.latent_dims]
    for rows, images in image_blocks(store):
        for j, qz in enumerate(model.encode(images)):
            noise = torch.randn(qz.mean.shape, generator=generator).to(qz.mean)
            facets[j][rows] = qz.sample(noise).float().cpu().numpy()
    return facets


def probe_accuracy(
    train_x: Float32[np.ndarray, "train_image input"],
    train_label: Int[np.ndarray, " train_image"],
    test_x: Float32[np.ndarray, "test_image input"],
    test_label: Int[np.ndarray, " test_image"],
    seed: int,
) -> float:
    """Fit scikit-learn's MLPClassifier with its defaults (100 hidden units, ReLU) and return its test accuracy.

    Images with a negative label are left out.
    """
    fitted, scored = train_label >= 0, test_label >= 0
    probe = MLPClassifier(random_state=seed)
    with warnings.catch_warnings():
        # The iteration limit is one of the defaults that the paper names.
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe.fit(train_x[fitted], train_label[fitted])
    return float(np.mean(probe.predict(test_x[scored]) == test_label[scored]))


def _summary(accuracies: Sequence[float], factor: Factor) -> ProbeResult:
    frequent = np.bincount(factor.train[factor.train >= 0]).argmax()
    return ProbeResult(
        mean=float(np.mean(accuracies)),
        std=float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else 0.0,
        chance=float(np.mean(factor.test[factor.test >= 0] == frequent)),
        n_runs=len(accuracies),
    )
