"""The mixtures' start: EM from k-means on the latents of the untrained encoder (paper, appendix D.4)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from pipeline.config.sections import InitMogParams
from pipeline.core.seeding import derive_seed
from pipeline.mixture.fit import FitSettings, fit_mixture
from pipeline.mixture.place import place_mixture
from pipeline.model import MultiFacetVae
from pipeline.model.inputs import encode_blocks


@dataclass(frozen=True)
class MixtureFit:
    """How one facet's fit went: the regularisation that it needed, and whether it converged."""

    facet: int
    reg_covar: float
    converged: bool


def encode_means(
    model: MultiFacetVae, blocks: Iterable[Shaped[Tensor, "_ channel height width"]]
) -> list[Float[Tensor, "seed image _"]]:
    """Return the posterior means of all blocks' images for every seed and facet, in evaluation mode."""
    means = [[qz.mean for qz in posteriors] for posteriors in encode_blocks(model, blocks)]
    return [torch.cat(parts, dim=1) for parts in zip(*means, strict=True)]


def init_mixtures(
    model: MultiFacetVae, seeds: Sequence[int], means: Sequence[Float[Tensor, "seed image _"]], params: InitMogParams
) -> list[list[MixtureFit]]:
    """Place every facet's component means by a mixture fitted on the latents; weights stay 1/K, deviations as built.

    Latents of a pretrained network mean something, so there the fit's weights and covariances are taken as well.

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
            covariance = model.params.covariance[facet] if params.pretrain else "diagonal"
            settings = FitSettings(covariance, params.reg_covar, params.max_escalations, params.max_iter, params.n_init)
            random_state = derive_seed(seed, "init_mog", facet) % 2**32
            fitted = fit_mixture(latents, n_components, settings, random_state, facet)
            if params.pretrain:
                place_mixture(model, facet, index, fitted)
            else:
                with torch.no_grad():
                    model.prior(facet).means[index].copy_(torch.from_numpy(fitted.means))
            of_seed.append(MixtureFit(facet, fitted.reg_covar, fitted.converged))
        fits.append(of_seed)
    return fits
