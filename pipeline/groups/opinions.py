"""Clusterings of the same images that a facet's components are compared with: other seeds', or refits of its own."""

from copy import deepcopy
from dataclasses import replace
from itertools import product

import torch

from pipeline.core.seeding import derive_seed, numpy_generator
from pipeline.core.shapes import Inputs
from pipeline.core.side_by_side import run_in_rounds
from pipeline.groups.confirmed import Resp
from pipeline.mixture.fit import FittedMixture, fit_mixture, fits_at_once
from pipeline.mixture.place import place_mixture
from pipeline.mixture.refit import draw_latents, encode_posteriors, refit_settings
from pipeline.model import DiagonalNormal, MultiFacetVae

_N_REFITS = 4  # beside the published mixture as many clusterings as five seeds have


def responsibilities(model: MultiFacetVae, images: Inputs) -> list[Resp]:
    """Return the exact responsibilities of every facet of a model with a seed axis of length one."""
    return [_exact(model, facet, qz) for facet, qz in enumerate(encode_posteriors(model, images))]


def refitted_responsibilities(model: MultiFacetVae, seed: int, images: Inputs) -> list[list[Resp]]:
    """Return, for every facet, what mixtures fitted to bootstrap samples of its latents say of the images.

    Each starts from a k-means of its own. They show what sampling and the fit leave open; what another training would
    find, they cannot show.

    Args:
        model: the only healthy seed, with a seed axis of length one.
        seed: of the experiment.
        images: training images.

    Raises:
        ModelError: fewer images than components.
    """
    posteriors = encode_posteriors(model, images)

    def refit(which: tuple[int, int]) -> FittedMixture:
        facet, number = which
        generator = numpy_generator(seed, "groups", "bootstrap", facet, number)
        drawn = torch.from_numpy(generator.integers(0, len(images), len(images)))
        latents = draw_latents(DiagonalNormal(*(part[:, drawn] for part in posteriors[facet])), 0, generator)
        settings = replace(refit_settings(model.params.covariance, latents), n_init=1)
        random_state = derive_seed(seed, "groups", "start", facet, number) % 2**32
        return fit_mixture(latents, model.params.n_components[facet], settings, random_state, facet)

    facets = range(model.params.n_facets)
    fitted = run_in_rounds(refit, list(product(facets, range(_N_REFITS))), fits_at_once())
    refitted = deepcopy(model)
    found: list[list[Resp]] = [[] for _ in facets]
    for (facet, _), mixture in zip(product(facets, range(_N_REFITS)), fitted, strict=True):
        place_mixture(refitted, facet, 0, mixture)
        found[facet].append(_exact(refitted, facet, posteriors[facet]))
    return found


@torch.no_grad()
def _exact(model: MultiFacetVae, facet: int, qz: DiagonalNormal) -> Resp:
    return model.prior(facet).exact_log_resp(qz)[0].exp().float().cpu().numpy()
