"""Mixtures fitted anew during training.

Gradients move all component means from one common start, and which optimum they reach is decided in the first epochs.
A fit with several starts on what the encoder has learned by then replaces that choice by a better one: on digits the
mean accuracy over seeds rose and their spread fell to a quarter (see benchmarks/recipes.md).
"""

import logging
from collections.abc import Sequence
from itertools import product
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float64
from torch import nn

from pipeline.core.errors import ModelError
from pipeline.core.seeding import derive_seed, numpy_generator
from pipeline.core.shapes import Inputs
from pipeline.core.side_by_side import run_in_rounds
from pipeline.mixture.fit import FitSettings, fit_mixture, fits_at_once
from pipeline.mixture.place import place_mixture
from pipeline.model import DiagonalNormal, MultiFacetVae
from pipeline.model.inputs import encode_blocks

REFIT_IMAGES = 20_000
"""Training images that a refit looks at."""

_BLOCK = 4096
_N_STARTS = 10  # of each fit; the likeliest is kept
_RELATIVE_REG_COVAR = 1e-4  # of the latents' mean variance
_MAX_ESCALATIONS = 6
_MAX_ITER = 100
_log = logging.getLogger(__name__)


def refit_mixtures(
    model: MultiFacetVae,
    seeds: Sequence[int],
    images: Inputs,
    first_facet: int,
    epoch: int,
) -> list[nn.Parameter]:
    """Fit the mixtures of the facets that take part to samples of q(z_j | x), the optimum of the prior's term.

    Means, covariances and (where learned) weights are replaced. The result is a pure function of the model, the images,
    the seed and the epoch. A seed whose fit fails keeps its mixture as it was trained, with a warning, so that the
    others go on.

    Args:
        model: all seeds' models.
        seeds: in the order of the seed axis.
        images: training images.
        first_facet: shallowest facet that takes part.
        epoch: that has just ended.

    Returns:
        The parameters of these mixtures: an optimiser's moments belong to the values before.
    """
    posteriors = encode_posteriors(model, images)
    facets = range(first_facet, model.params.n_facets)

    def refit(which: tuple[int, int]) -> None:
        facet, index = which
        seed = seeds[index]
        latents = draw_latents(posteriors[facet], index, numpy_generator(seed, "train", "refit", epoch, facet))
        if not np.isfinite(latents).all():
            return  # a seed that has failed; the loop notices it by its losses
        settings = refit_settings(model.params.covariance[facet], latents)
        random_state = derive_seed(seed, "train", "refit-starts", epoch, facet) % 2**32
        try:
            fitted = fit_mixture(latents, model.params.n_components[facet], settings, random_state, facet)
        except ModelError as error:
            _log.warning("seed %d keeps its mixture as it was trained: %s", seed, error)
        else:
            place_mixture(model, facet, index, fitted)

    run_in_rounds(refit, list(product(facets, range(len(seeds)))), fits_at_once())
    return [parameter for facet in facets for parameter in model.prior(facet).parameters()]


def encode_posteriors(model: MultiFacetVae, images: Inputs) -> list[DiagonalNormal]:
    """Return q(z_j | x) of every facet for all seeds, block by block."""
    joined: list[Any] = []
    for parts in zip(*encode_blocks(model, images.split(_BLOCK)), strict=True):
        means, log_variances = zip(*parts, strict=True)
        joined.append(DiagonalNormal(torch.cat(means, 1), torch.cat(log_variances, 1)))
    return joined


def draw_latents(qz: DiagonalNormal, index: int, generator: np.random.Generator) -> Float64[np.ndarray, "image latent"]:
    """Draw one latent an image from the posteriors of one model of the seed axis."""
    mean, variance = (part[index].double().cpu().numpy() for part in (qz.mean, qz.variance))
    return mean + np.sqrt(variance) * generator.standard_normal(mean.shape)


def refit_settings(
    covariance: Literal["diagonal", "full"], latents: Float64[np.ndarray, "image latent"]
) -> FitSettings:
    """Return how a mixture is fitted to latents that training has arranged."""
    return FitSettings(
        covariance, _RELATIVE_REG_COVAR * float(latents.var(0).mean()), _MAX_ESCALATIONS, _MAX_ITER, _N_STARTS
    )
