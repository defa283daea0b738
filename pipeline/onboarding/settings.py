"""Model and training of a proposed experiment: what the pixels suggest, with a reason for each value.

The numbers are those of ``benchmarks/recipes.md``, where they were compared on collections of many kinds.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from pipeline.config.parse import parse
from pipeline.config.sections import ModelParams, TrainParams
from pipeline.core.text import percent

Pixels = UInt8[np.ndarray, "image channel height width"]

Reasoned = tuple[Any, str]
"""A plain value, as YAML has it, and why."""

FEWEST_PER_CLUSTER = 20
"""Images that a cluster should have on average."""

N_CLUSTERS = 6
"""Of a facet to begin with: seeds agree on few clusters, and where they agree on twice as many, trials say so."""

SEEDS = tuple(range(8))
"""Of a proposal: some collections are told apart well by every training, others by a few of them."""

_FEWEST_CLUSTERS = 4  # of fewer, one must nearly hold half of the images, which the gate forbids

_STEPS = 3000
"""Optimisation steps after which an experiment of this size has settled, all phases together."""

_MOST_STEPS_AN_IMAGE = 40  # few images are learned by heart long before

_USUAL_MODEL: dict[str, Reasoned] = {
    "family": ("dense", "quick on a processor; with a GPU and photographs try convolutional"),
    "covariance": (["diagonal", "diagonal"], "with few images full ones make the clusters of the shallow facet vague"),
    "mixing_weights": ("learned", "clusters may differ in size"),
    "output": ("sigmoid", "pixels lie between 0 and 1"),
    "activation": ("relu", "as for MNIST"),
    "network_init": ("default", "as for MNIST"),
}
_USUAL_TRAINING: dict[str, Reasoned] = {
    "learning_rate": (0.001, "Adam's usual one"),
    "mixture_rate": (10.0, "as in the shipped experiments of this size"),
    "betas": ([0.9, 0.95], "as in the shipped experiments of this size"),
    "warmup_steps": (100, "the rate rises over so many steps"),
    "decay": ("restarts", "each phase cools down"),
    "kl_weight": (1.0, "the bound as it is"),
    "kl_epochs": (0, "from the first epoch on"),
    "n_samples": (1, "of the latents a step"),
    "validation_fraction": (0.1, "of the training images, for the bound"),
    "hints": ({"weight": 50.0, "images": 96}, "of hints, which the estimator takes so far"),
    "ignores": (None, "facets see everything; a person who knows what one must not depend on says so"),
    "view_weight": (0.0, "views alone: of what facets ignore"),
    "min_entropy": (0.5, "that of publish.gate: a seed below it could not be published"),
    "precision": ("float32", "products this small gain nothing from bfloat16"),
    "device": ("auto", "a GPU where there is one"),
    "checkpoint_seconds": (30.0, "so much is lost when it is killed"),
    "min_healthy_seeds": (1, "fewer fail the training"),
}
"""What images do not decide."""


@dataclass(frozen=True)
class Setting:
    """A model and its training, with the reason for each value.

    Attributes:
        model: the section ``model``.
        train: the section ``train``.
        why: reasons by dotted key, e.g. ``model.sigma``; a section that a person wrote has none.
    """

    model: ModelParams
    train: TrainParams
    why: Mapping[str, str]

    def changed(self, changes: Mapping[str, Reasoned]) -> "Setting":
        """Return the setting with other values at some dotted keys."""
        plain: dict[str, dict[str, Any]] = {"model": asdict(self.model), "train": asdict(self.train)}
        for key, (value, _) in changes.items():
            section, _, name = key.partition(".")
            plain[section][name] = value
        why = {**self.why, **{key: reason for key, (_, reason) in changes.items()}}
        return Setting(*_parsed(plain), why)

    def differences(self, other: "Setting") -> dict[str, tuple[Any, Any]]:
        """Return what another setting has at dotted keys where the two differ: this one's value, the other's."""
        found: dict[str, tuple[Any, Any]] = {}
        for section in ("model", "train"):
            own, others = asdict(getattr(self, section)), asdict(getattr(other, section))
            found |= {f"{section}.{key}": (own[key], others[key]) for key in own if own[key] != others[key]}
        return found


def first_setting(pixels: Pixels, n_images: int) -> Setting:
    """Return what to try first.

    Args:
        pixels: some hundred images at model size.
        n_images: of the whole source, usable ones.
    """
    model = _USUAL_MODEL | _choose_network(pixels, n_images)
    train = _USUAL_TRAINING | _choose_training(n_images)
    sections = {"model": model, "train": train}
    plain = {section: {key: value for key, (value, _) in values.items()} for section, values in sections.items()}
    why = {f"{section}.{key}": why for section, values in sections.items() for key, (_, why) in values.items()}
    return Setting(*_parsed(plain), why)


def phases(n_facets: int, epochs: int) -> list[dict[str, Any]]:
    """Return the progressive phases of a model, each of so many epochs; one facet has one phase, of all of them."""
    if n_facets == 1:
        return [{"epochs": 2 * epochs, "fade_in": 0.0, "refit_at": 0.5}]
    first = [{"epochs": epochs, "fade_in": 0.0 if phase == 0 else 0.3, "refit_at": 1.0} for phase in range(n_facets)]
    return [*first[:-1], {**first[-1], "refit_at": 0.5}]


def rounded(sigma: float) -> float:
    """Return a deviation with three digits: that of dim images is small, and must not become 0."""
    return float(f"{sigma:.3g}")


def _parsed(plain: Mapping[str, Any]) -> tuple[ModelParams, TrainParams]:
    return parse(ModelParams, plain["model"], "model"), parse(TrainParams, plain["train"], "train")


def _choose_network(pixels: Pixels, n_images: int) -> dict[str, Reasoned]:
    n_numbers = int(np.prod(pixels.shape[1:]))
    n_clusters = max(_FEWEST_CLUSTERS, min(N_CLUSTERS, n_images // FEWEST_PER_CLUSTER))
    extreme = float(((pixels < 26) | (pixels > 229)).mean())
    model: dict[str, Reasoned] = {
        "hidden": ([[128], [256]], "wide enough for small images, and quick on a processor"),
        "latent_dims": ([10, 1], "facet 0 is shallow; facet 1, deep, would take all there is if it had room"),
        "n_components": ([n_clusters] * 2, "clusters a facet at most; fewer where there are few images"),
    }
    if extreme > 0.8 and pixels.shape[1] == 1:
        return model | {
            "likelihood": ("bernoulli", f"{percent(extreme)} of the pixels are nearly black or white"),
            "sigma": (1.0, "of a Gaussian likelihood only"),
            "rung_gate": (0.1, "as for MNIST"),
        }
    contrast = float(np.percentile(pixels, 99.9) - np.percentile(pixels, 0.1)) / 255
    sigma = max(0.01, round(contrast * min(0.6, max(0.1, 0.1 * (n_numbers / 64) ** 0.284)), 3))
    return model | {
        "likelihood": ("gaussian", f"many shades: {percent(extreme)} of the pixels are nearly black or white"),
        "sigma": (sigma, "grows with the number of pixels and their contrast; smaller draws sharper"),
        "rung_gate": (1.0, "as in the shipped experiments with this likelihood"),
    }


def _choose_training(n_images: int) -> dict[str, Reasoned]:
    batch_size = 16 if n_images < 300 else 32 if n_images < 10_000 else 64
    steps = min(_STEPS, _MOST_STEPS_AN_IMAGE * n_images)
    epochs = max(4, round(steps * batch_size / n_images / 2))
    return {
        "batch_size": (batch_size, "small for few images, so that there are enough steps"),
        "phases": (phases(2, epochs), f"facet 1 alone, then both; about {steps:,} steps in all"),
    }
