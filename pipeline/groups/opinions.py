"""Clusterings of the same images that a facet's components are compared with: refits of other seeds' mixtures.

Where a mixture cuts a continuum is chance: mixtures of two seeds cut it differently, and so do two fits to one seed's
latents, each to a bootstrap sample and from a start of its own. Where there are clusters, all of them find these.
Refits therefore stand for what a seed's encoder has learned; its trained mixture is one of many that fit. On digits
(seeds 100 to 109), groups agree better with labels when refits are compared with than when trained mixtures are.
"""

import logging
from copy import deepcopy
from dataclasses import replace
from itertools import product

import torch

from pipeline.core.errors import ModelError
from pipeline.core.seeding import derive_seed, numpy_generator
from pipeline.core.shapes import Inputs
from pipeline.core.side_by_side import run_in_rounds
from pipeline.groups.confirmed import Resp
from pipeline.mixture.fit import FittedMixture, fit_mixture, fits_at_once
from pipeline.mixture.place import place_mixture
from pipeline.mixture.refit import draw_latents, encode_posteriors, refit_settings
from pipeline.model import DiagonalNormal, MultiFacetVae

_log = logging.getLogger(__name__)

Clusterings = list[Resp]


def responsibilities(model: MultiFacetVae, images: Inputs) -> list[Resp]:
    """Return the exact responsibilities of every facet of a model with a seed axis of length one."""
    return [_exact(model, facet, qz) for facet, qz in enumerate(encode_posteriors(model, images))]


def refitted_responsibilities(model: MultiFacetVae, seed: int, images: Inputs, n_refits: int) -> list[Clusterings]:
    """Return, for every facet, what mixtures fitted to bootstrap samples of its latents say of the images.

    Where a fit fails, the mixture speaks as it was trained: a finished training is not given up for its groups.

    Args:
        model: one healthy seed, with a seed axis of length one.
        seed: of the experiment.
        images: training images.
        n_refits: of every facet.
    """
    posteriors = encode_posteriors(model, images)
    wanted = list(product(range(model.params.n_facets), range(n_refits)))

    def refit(which: tuple[int, int]) -> FittedMixture | None:
        facet, number = which
        generator = numpy_generator(seed, "groups", "bootstrap", facet, number)
        drawn = torch.from_numpy(generator.integers(0, len(images), len(images)))
        latents = draw_latents(DiagonalNormal(*(part[:, drawn] for part in posteriors[facet])), 0, generator)
        settings = replace(refit_settings(model.params.covariance[facet], latents), n_init=1)
        random_state = derive_seed(seed, "groups", "start", facet, number) % 2**32
        try:
            return fit_mixture(latents, model.params.n_components[facet], settings, random_state, facet)
        except ModelError as error:
            _log.warning("groups: seed %d speaks with its mixture as it was trained: %s", seed, error)
            return None

    refitted = deepcopy(model)
    found: list[Clusterings] = [[] for _ in posteriors]
    for (facet, _), mixture in zip(wanted, run_in_rounds(refit, wanted, fits_at_once()), strict=True):
        if mixture is not None:
            place_mixture(refitted, facet, 0, mixture)
        found[facet].append(_exact(model if mixture is None else refitted, facet, posteriors[facet]))
    return found


@torch.no_grad()
def _exact(model: MultiFacetVae, facet: int, qz: DiagonalNormal) -> Resp:
    return model.prior(facet).exact_log_resp(qz)[0].exp().float().cpu().numpy()
