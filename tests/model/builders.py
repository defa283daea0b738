"""Small models with random weights, in float64."""

from dataclasses import replace
from typing import Any

import torch

from pipeline.config.sections import ModelParams
from pipeline.datasets.store.spec import InputSpec
from pipeline.model import MultiFacetVae
from pipeline.training import objective

TINY = ModelParams(
    family="dense",
    hidden=((7,), (6,)),
    latent_dims=(2, 3),
    n_components=(4, 3),
    covariance=("diagonal", "diagonal"),
    mixing_weights="learned",
    likelihood="bernoulli",
    sigma=0.7,
    output="sigmoid",
    activation="relu",
    network_init="default",
    rung_gate=0.5,
)
CONVOLUTIONAL = replace(TINY, family="convolutional", hidden=((3,), (4,)), activation="elu")
SHARED = replace(TINY, family="shared", hidden=((7, 6),))
FAMILIES = {"dense": TINY, "convolutional": CONVOLUTIONAL, "shared": SHARED}
SHAPE = (1, 3, 4)
CONV_SHAPE = (2, 9, 8)


SPEC = InputSpec.pixels(SHAPE)


def image_shape(params):
    return CONV_SHAPE if params.family == "convolutional" else SHAPE


def spec_of(params, shape=None):
    return InputSpec.pixels(shape or image_shape(params))


def with_facets(n_facets, params=TINY):
    hidden = ((6, 5),) if params.family == "shared" else tuple((5 + j,) for j in range(n_facets))
    dims, components = tuple(2 + j % 2 for j in range(n_facets)), tuple(3 + j for j in range(n_facets))
    covariance = params.covariance[:1] * n_facets
    return replace(params, hidden=hidden, latent_dims=dims, n_components=components, covariance=covariance)


@torch.no_grad()
def randomise_prior(prior, generator):
    """Random weights, means and well-conditioned covariances: an oracle's inverse must be worth eight digits."""
    for value in prior.parameters():
        value.copy_(0.5 * torch.randn(value.shape, generator=generator, dtype=value.dtype))
    raw = next(prior.covariance.parameters())
    scales = raw.diagonal(dim1=-2, dim2=-1) if raw.dim() == 4 else raw
    scales.copy_(0.1 + 0.5 * torch.rand(scales.shape, generator=generator, dtype=raw.dtype))
    return prior


def random_model(
    params=TINY, n_seeds=1, seed=0, dtype=torch.float64, shape=None
) -> Any:  # tests look inside its modules
    """Every parameter, statistic and mixture at random, away from its start value."""
    model = MultiFacetVae(params, spec_of(params, shape), n_seeds).to(dtype)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in model.state_dict().values():
            value.copy_(0.4 * torch.randn(value.shape, generator=generator))
        for name, value in model.state_dict().items():
            if name.endswith("running_var") or ".norm.weight" in name:
                value.copy_(0.5 + torch.rand(value.shape, generator=generator))
    for facet in range(params.n_facets):
        randomise_prior(model.prior(facet), generator)
    return model


def random_images(params=TINY, n=5, n_seeds=1, seed=0, dtype=torch.float64, shape=None):
    generator = torch.Generator().manual_seed(1000 + seed)
    return torch.rand(n_seeds, n, *(shape or image_shape(params)), generator=generator, dtype=dtype)


def random_noise(params=TINY, n=5, n_seeds=1, n_samples=1, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(2000 + seed)
    return [torch.randn(n_samples, n_seeds, n, dim, generator=generator, dtype=dtype) for dim in params.latent_dims]


def ones(params=TINY):
    return torch.ones(params.n_facets, dtype=torch.float64)


def solo(model, index):
    """Return one model of the seed axis as a model of its own."""
    alone = MultiFacetVae(model.params, model.spec).to(model.prior(0).means.dtype)
    alone.load_state_dict({name: value[index : index + 1] for name, value in model.state_dict().items()})
    return alone.train(model.training)


def loss(model, x, noise, fade_in=None):
    """The training objective with full weights, summed over seeds."""
    fade_in = ones(model.params) if fade_in is None else fade_in
    return objective.loss(*objective.bound_of_model(model, x, noise, fade_in), fade_in[-len(noise) :])


def gradients(model):
    return {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
