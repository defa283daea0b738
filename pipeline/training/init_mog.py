"""The mixtures' start: scikit-learn's Gaussian mixture on the latents of the untrained encoder (appendix D.4)."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from pipeline.config.sections import InitMogParams
from pipeline.errors import ModelError
from pipeline.model import MultiFacetVae
from pipeline.seeding import derive_seed

_BLOCK = 4096  # images encoded at once


@dataclass(frozen=True)
class MixtureFit:
    """How one facet's fit went: the regularisation that it needed, and whether it converged."""

    facet: int
    reg_covar: float
    converged: bool


@torch.no_grad()
def encode_means(
    model: MultiFacetVae, images: UInt8[Tensor, "image channel height width"]
) -> list[Float[Tensor, "seed image _"]]:
    """Return the posterior means of all images for every seed and facet, in evaluation mode."""
    model.eval()
    dtype = model.prior(0).means.dtype
    blocks = []
    for block in images.split(_BLOCK):
        pixels = block.to(model.prior(0).means.device).to(dtype) / 255
        blocks.append([qz.mean for qz in model.encode(pixels.expand(model.n_seeds, *pixels.shape))])
    return [torch.cat(parts, dim=1) for parts in zip(*blocks, strict=True)]


def init_mixtures(
    model: MultiFacetVae, seeds: Sequence[int], means: Sequence[Float[Tensor, "seed image _"]], params: InitMogParams
) -> list[list[MixtureFit]]:
    """Place every facet's component means by a mixture fitted on the latents; weights stay 1/K, deviations as built.

    The fit takes the posterior means (the authors' program; the paper says samples, whose spread is 40 times larger),
    in float64, and raises its regularisation tenfold as often as needed and allowed.

    Returns:
        For every seed, the fit of every facet.

    Raises:
        ModelError: fewer images than components, or no fit succeeded within the escalations.
    """
    fits = []
    for index, seed in enumerate(seeds):
        of_seed = []
        for facet, z in enumerate(means):
            latents = z[index].double().cpu().numpy()
            n_components = model.params.n_components[facet]
            fitted, fit = _fit(latents, n_components, facet, params, derive_seed(seed, "init_mog", facet) % 2**32)
            with torch.no_grad():
                model.prior(facet).means[index].copy_(torch.from_numpy(fitted))
            of_seed.append(fit)
        fits.append(of_seed)
    return fits


def _fit(
    latents: np.ndarray, n_components: int, facet: int, params: InitMogParams, random_state: int
) -> tuple[np.ndarray, MixtureFit]:
    if len(latents) < n_components:
        raise ModelError(
            f"facet {facet} needs at least as many training images as components, got {len(latents)} images for "
            f"{n_components} components; lower model.n_components[{facet}] or add images"
        )
    reg_covar = params.reg_covar
    for _ in range(params.max_escalations + 1):
        mixture = GaussianMixture(
            n_components,
            covariance_type="diag",
            reg_covar=reg_covar,
            max_iter=params.max_iter,
            n_init=params.n_init,
            random_state=random_state,
        )
        try:
            with warnings.catch_warnings():
                # A fit that has not converged, or latents with few distinct points, still gives usable start means.
                warnings.simplefilter("ignore", ConvergenceWarning)
                mixture.fit(latents)
        except ValueError:
            reg_covar *= 10
        else:
            return np.asarray(mixture.means_), MixtureFit(facet, reg_covar, bool(mixture.converged_))
    raise ModelError(
        f"the mixture of facet {facet} must be fitted on the untrained encoder's latents, but it failed even with "
        f"reg_covar {reg_covar / 10:g}; raise init_mog.reg_covar or look for constant images"
    )
