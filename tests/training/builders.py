"""Trainings that last milliseconds."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.config import load_params
from pipeline.model import MultiFacetVae
from pipeline.training.images import MemoryImages, TrainingImages
from pipeline.training.loop import GroupTraining
from pipeline.training.network_init import init_network
from pipeline.training.runtime import Runtime
from tests.model.builders import TINY, image_shape, randomise_prior, spec_of

_OWN = load_params(Path(__file__).parents[2]).experiment("mnist_fast")  # new keys take the project's values


def phase(epochs, fade_in=0.0, refit_at=0.0):
    return replace(_OWN.train.phases[0], epochs=epochs, fade_in=fade_in, refit_at=refit_at)


CPU = Runtime(torch.device("cpu"), torch.float32)
INIT = replace(_OWN.init_mog, subsample=1000, max_iter=20)
TRAIN = replace(
    _OWN.train,
    phases=(phase(2), phase(3, 0.5)),
    batch_size=8,
    learning_rate=1e-2,
    mixture_rate=5.0,
    warmup_steps=3,
    decay="cosine",
    kl_weight=1.0,
    kl_epochs=0,
    n_samples=1,
    validation_fraction=0.2,
    min_entropy=0.0,
    precision="float32",
    device="cpu",
    checkpoint_seconds=1e9,
    min_healthy_seeds=1,
)


def uint8_images(n=24, params=TINY, seed=0):
    """Three shapes of grey, so that there is something to learn, and noise."""
    rng = np.random.default_rng(seed)
    shape = image_shape(params)
    centres = rng.integers(40, 216, (3, *shape))
    return torch.from_numpy((centres[rng.integers(0, 3, n)] + rng.integers(-30, 30, (n, *shape))).astype(np.uint8))


def training_images(n=24, params=TINY, n_validation=4) -> Any:
    rows, images = np.arange(n), MemoryImages(uint8_images(n, params), spec_of(params))
    return TrainingImages(images, rows[n_validation:], rows[:n_validation])


def started_model(params=TINY, seeds=(0,), dtype=torch.float32) -> Any:
    """A model as stage init_mog leaves it, its mixtures at random; a member of the seed axis equals its solo start."""
    model: Any = MultiFacetVae(params, spec_of(params), len(seeds)).to(dtype)
    init_network(model, seeds, uint8_images(params=params).to(dtype) / 255)
    for head, dim in zip(model.network.heads, params.latent_dims, strict=True):
        with torch.no_grad():
            head.bias[:, dim:] -= 8.0  # sharp posteriors: a few steps are enough for latents that tell images apart
    for facet in range(params.n_facets):
        for index, seed in enumerate(seeds):
            alone = MultiFacetVae(params, spec_of(params)).to(dtype).prior(facet)
            randomise_prior(alone, torch.Generator().manual_seed(100 * facet + seed))
            with torch.no_grad():
                for stacked, value in zip(model.prior(facet).parameters(), alone.parameters(), strict=True):
                    stacked[index].copy_(value[0])
    return model


class Bar:
    """Counts chunks and may interfere with the training after one of them."""

    def __init__(self, at=None, what=lambda: None):
        self.done, self._at, self._what = 0, at, what
        self.notes = []

    def advance(self, n=1, note=""):
        self.done += n
        self.notes.append(note)
        if self.done == self._at and note:
            self._what()


class Killed(Exception):
    """The process is gone."""


def kill():
    raise Killed


def group_training(folder, train=TRAIN, seeds=(0,), params=TINY, images=None, runtime=CPU) -> Any:
    """Return a group about to train, and its model."""
    model = started_model(params, seeds)
    images = images or training_images(params=params)
    return GroupTraining(model, seeds, images, train, runtime, folder / "running.pt"), model


def assert_same_state(one, other):
    assert one.keys() == other.keys()
    different = [name for name in one if not torch.equal(one[name], other[name])]
    assert not different
