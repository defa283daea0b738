"""The mixtures' start: EM from k-means on the latents of the untrained encoder (paper, appendix D.4).

Latents that are directions of the data before any training start with the clusters of k-means themselves.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Shaped
from torch import Tensor

from pipeline.config.sections import InitMogParams
from pipeline.core.seeding import derive_seed
from pipeline.mixture.fit import FitSettings, FittedMixture, fit_mixture, k_means, spectral_clusters
from pipeline.mixture.place import place_mixture
from pipeline.model import MultiFacetVae
from pipeline.model.inputs import encode_blocks

_N_STARTS = 50  # of k-means: of fewer, now and then one is published that found another optimum
_MOST_IN_GRAPH = 6000  # images whose neighbours are looked for, among themselves
_POSTERIOR_VARIANCE = 1.0  # of a latent as a linear start leaves it: its log-variance is 0


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


def init_clusters(
    model: MultiFacetVae, seeds: Sequence[int], means: Sequence[Float[Tensor, "seed image _"]], n_neighbours: int
) -> list[list[MixtureFit]]:
    """Place every facet's components on clusters of the latents, all with the same variances and one weight.

    What is drawn of a latent is a posterior's mean and its noise, so a component's variance is that of the means within
    clusters and the posteriors' own. That of the means alone is next to nothing in a direction that tells little, and
    the first epochs would go into that while clusters are lost.

    Where latents are directions of the data, k-means finds what people call kinds rather better than EM, whose
    components become large and small ones along whatever is not Gaussian. Clusters of neighbours are better still where
    kinds are bent and images of a kind lie close, as in handwriting, and worse where they do not
    (``benchmarks/recipes.md``).

    Args:
        model: holds one model a seed.
        seeds: the experiment's seeds, in the order of the model's seed axis.
        means: posterior means of at least as many images as there are components, a tensor a facet.
        n_neighbours: of each image in a graph whose spectral clusters are taken; 0 takes those of k-means.

    Returns:
        For every seed, the fit of every facet.
    """
    for facet, z in enumerate(means):
        for index, seed in enumerate(seeds):
            latents = z[index].double().cpu().numpy()
            random_state = derive_seed(seed, "init_mog", facet) % 2**32
            clusters = _clusters(latents, model.params.n_components[facet], n_neighbours, random_state)
            place_mixture(model, facet, index, clusters)
    return [[MixtureFit(facet, 0.0, True) for facet in range(len(means))] for _ in seeds]


def _clusters(
    latents: Float64[np.ndarray, "image latent"], n_components: int, n_neighbours: int, random_state: int
) -> FittedMixture:
    generator = np.random.RandomState(random_state)
    if n_neighbours:
        latents = latents[:: -(-len(latents) // _MOST_IN_GRAPH)]
        labels = spectral_clusters(latents, n_components, n_neighbours, generator, _N_STARTS)
    else:
        labels = k_means(latents, n_components, generator, _N_STARTS)
    centres = np.stack(
        [latents[labels == c].mean(0) if (labels == c).any() else latents[0] for c in range(n_components)]
    )
    variance = (latents - centres[labels]).var(0) + _POSTERIOR_VARIANCE
    weights = np.full(n_components, 1 / n_components)
    return FittedMixture(weights, centres, np.tile(np.diag(variance), (n_components, 1, 1)), 0.0, converged=True)
