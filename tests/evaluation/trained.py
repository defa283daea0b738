"""Tiny models with random weights, stored as stage train stores them."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from pipeline.config.sections import ScoreParams
from pipeline.core.layout import Layout
from pipeline.datasets.store.spec import InputSpec
from pipeline.evaluation import score_models, write_score
from pipeline.model import MultiFacetVae
from pipeline.model.checkpoint import model_version, save_weights, seed_state, weights_path
from tests.evaluation.known import known_params, write_epochs, write_prepared

SCORE = ScoreParams(baselines=True, baseline_images=100, bootstrap=50)


def random_vae(n_components, image_shape, seed=0, latent_dim=2):
    n_facets = len(n_components)
    params = replace(known_params(n_components), hidden=((8,),) * n_facets, latent_dims=(latent_dim,) * n_facets)
    model = MultiFacetVae(params, InputSpec.pixels(image_shape))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
        for j in range(n_facets):
            means = model.prior(j).means
            means.copy_(torch.randn(means.shape, generator=generator))
    return model


def write_models(layout: Layout, seeds, n_components, image_shape):
    folder: Path = layout.artifact("model")
    folder.mkdir(parents=True)
    models = {seed: random_vae(n_components, image_shape, seed) for seed in seeds}
    for seed, model in models.items():
        save_weights(weights_path(folder, seed), seed_state(model, 0))
    first = models[seeds[0]]
    description = {
        "schema": 1,
        "experiment": layout.experiment,
        "model_version": model_version(seed_state(first, 0), first.params),
        "selected_seed": seeds[0],
        "model": asdict(first.params),
        "image_shape": list(image_shape),
        "seeds": [{"seed": seed, "healthy": True} for seed in seeds],
    }
    (folder / "model.json").write_text(json.dumps(description))
    write_epochs(folder, seeds, len(n_components))


def experiment(root, name, n_components, image_shape, labels=True, seeds=(5, 6)):
    layout = Layout(root, name)
    rng = np.random.default_rng(0)
    sizes = {"train": 60, "test": 24}
    images = {split: rng.integers(0, 256, (n, *image_shape), dtype=np.uint8) for split, n in sizes.items()}
    digit = {split: rng.integers(0, 3, n) for split, n in sizes.items()}
    layout.prepared.mkdir(parents=True)
    write_prepared(layout.prepared, images, {"digit": digit} if labels else {})
    write_models(layout, list(seeds), n_components, image_shape)
    score = score_models(layout.artifact("model"), layout.prepared, SCORE)
    layout.artifact("score").mkdir(parents=True)
    write_score(score, layout.artifact("score"))
    return layout
