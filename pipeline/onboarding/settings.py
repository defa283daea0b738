"""Preset of a proposed experiment, and model and training of one that trials are to settle, each value with a reason.

What images do not decide is that of a preset. The numbers are those of ``benchmarks/recipes.md``, where they were
compared on collections of many kinds.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from pipeline.config.parse import parse
from pipeline.config.resolve import KEY, resolve
from pipeline.config.sections import ModelParams, TrainParams
from pipeline.core.text import percent

Pixels = UInt8[np.ndarray, "image channel height width"]

Reasoned = tuple[Any, str]
"""A plain value, as YAML has it, and why."""

DIRECTIONS = "directions"
"""Preset of features, of images in colour and of grey ones of many shades: no network has to learn their pixels."""

BLACK_AND_WHITE = "black_and_white"
"""Preset of images whose pixels are nearly black or white; of its models, trials show what trains."""

FEWEST_PER_CLUSTER = 20
"""Images that a cluster should have on average."""

N_CLUSTERS = 6
"""Of a facet to begin with: seeds agree on few clusters, and where they agree on twice as many, trials say so."""

SEEDS = tuple(range(8))
"""Of a proposal: some collections are told apart well by every training, others by a few of them."""

FEWEST_CLUSTERS = 4
"""Of a facet: of fewer, one must nearly hold half of the images, which the gate forbids."""

_STEPS = 3000
"""Optimisation steps after which an experiment of this size has settled, all phases together."""

_MOST_STEPS_AN_IMAGE = 40  # few images are learned by heart long before


@dataclass(frozen=True)
class Setting:
    """A model and its training, with the reason for each value.

    Attributes:
        model: the section ``model``.
        train: the section ``train``.
        why: reasons by dotted key, e.g. ``model.sigma``, of what neither a preset nor a person has chosen.
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


def usual_preset(pixels: Pixels) -> Reasoned:
    """Return the preset to begin with.

    Args:
        pixels: some hundred images at model size.
    """
    n_channels = pixels.shape[1]
    if n_channels != 1:
        return DIRECTIONS, "in colour" if n_channels == 3 else f"{n_channels} channels"
    extreme = float(((pixels < 26) | (pixels > 229)).mean())
    found = f"{percent(extreme)} of the pixels are nearly black or white"
    return (BLACK_AND_WHITE, found) if extreme > 0.8 else (DIRECTIONS, f"grey, many shades: {found}")


def first_setting(n_images: int) -> Setting:
    """Return what to try first, of nearly black and white images.

    Args:
        n_images: of the whole source, usable ones.
    """
    chosen = {"model": _choose_network(n_images), "train": _choose_training(n_images)}
    own = {section: {key: value for key, (value, _) in values.items()} for section, values in chosen.items()}
    why = {f"{section}.{key}": why for section, values in chosen.items() for key, (_, why) in values.items()}
    return Setting(*_parsed(resolve({KEY: BLACK_AND_WHITE, **own}, BLACK_AND_WHITE)), why)


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


def _choose_network(n_images: int) -> dict[str, Reasoned]:
    n_clusters = max(FEWEST_CLUSTERS, min(N_CLUSTERS, n_images // FEWEST_PER_CLUSTER))
    return {
        "hidden": ([[128], [256]], "wide enough for small images, and quick on a processor"),
        "latent_dims": ([10, 1], "facet 0 is shallow; facet 1, deep, would take all there is if it had room"),
        "n_components": ([n_clusters] * 2, "clusters a facet at most; fewer where there are few images"),
    }


def _choose_training(n_images: int) -> dict[str, Reasoned]:
    batch_size = 16 if n_images < 300 else 32 if n_images < 10_000 else 64
    steps = min(_STEPS, _MOST_STEPS_AN_IMAGE * n_images)
    epochs = max(4, round(steps * batch_size / n_images / 2))
    return {
        "batch_size": (batch_size, "batches small for few images"),
        "phases": (phases(2, epochs), f"facet 1 alone, then both; about {steps:,} steps in all"),
    }
