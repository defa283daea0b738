"""The Multi-Facet Clustering VAE: a ladder network, one mixture prior per facet, a likelihood (paper, section 3)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.config.sections import ModelParams
from pipeline.datasets.store.spec import InputSpec
from pipeline.model.elbo import ElboTerms, facet_kl, facet_terms
from pipeline.model.ladders.base import make_ladder
from pipeline.model.likelihoods.base import make_likelihood
from pipeline.model.mixture_prior import MixturePrior
from pipeline.model.posterior import DiagonalNormal


class MultiFacetVae(nn.Module):
    """All networks and priors of ``n_seeds`` independent models, stacked along a leading seed axis.

    A new model holds uninitialised network weights; see ``pipeline.training`` for the initialisations.

    Args:
        params: the model section.
        spec: what an input is.
        n_seeds: models side by side.
        component_std: initial standard deviation of every mixture component.
    """

    def __init__(self, params: ModelParams, spec: InputSpec, n_seeds: int = 1, component_std: float = 0.1) -> None:
        super().__init__()
        self.params, self.spec, self.n_seeds = params, spec, n_seeds
        self.network = make_ladder(n_seeds, params, spec.shape)
        self.priors = nn.ModuleList(
            MixturePrior(n_seeds, params, facet, component_std) for facet in range(params.n_facets)
        )
        self.likelihood = make_likelihood(params, spec)

    def prior(self, facet: int) -> MixturePrior:
        """Return the prior of one facet."""
        prior = self.priors[facet]
        assert isinstance(prior, MixturePrior)
        return prior

    def mixture_parameters(self) -> list[nn.Parameter]:
        """Return the trainable parameters of all priors."""
        return [parameter for parameter in self.priors.parameters() if parameter.requires_grad]

    def encode(self, x: Float[Tensor, "seed batch channel height width"], first: int = 0) -> list[DiagonalNormal]:
        """Return q(z_j | x) for the facets from ``first`` on."""
        return self.network.encode(x, first)

    def decode(
        self, latents: Sequence[Float[Tensor, "seed batch _"]], fade_in: Float[Tensor, " facet"] | None = None
    ) -> Float[Tensor, "seed batch pixel"]:
        """Return the decoder's raw output; without ``fade_in`` every facet counts in full."""
        if fade_in is None:
            fade_in = latents[-1].new_ones(self.params.n_facets)
        return self.network.decode(latents, fade_in)

    def kls(
        self, posteriors: Sequence[DiagonalNormal], noise: Sequence[Float[Tensor, "sample seed batch _"]]
    ) -> list[Float[Tensor, "seed batch"]]:
        """Return KL_z,j + KL_c,j of the last ``len(noise)`` facets, in nats an image."""
        first = self.params.n_facets - len(noise)
        return [facet_kl(self.prior(first + i), qz, e) for i, (qz, e) in enumerate(zip(posteriors, noise, strict=True))]

    def terms(
        self,
        x: Float[Tensor, "seed batch channel height width"],
        noise: Sequence[Float[Tensor, "sample seed batch _"]],
        fade_in: Float[Tensor, " facet"],
        precision: torch.dtype | None = None,
    ) -> ElboTerms:
        """Return the five terms of the bound for the facets that take part, for reporting.

        Args:
            x: inputs as floats.
            noise: standard normal numbers for the last ``len(noise)`` facets; the others wait.
            fade_in: coefficient of every facet's decoder rung.
            precision: type of the network's products, that of ``x`` by default; densities keep the type of ``x``.
        """
        first = self.params.n_facets - len(noise)
        precision = precision or x.dtype
        posteriors = self.encode(x.to(precision), first)
        log_px = self.log_px(x, posteriors, noise, fade_in, precision)
        facets = [
            facet_terms(self.prior(first + i), qz, e) for i, (qz, e) in enumerate(zip(posteriors, noise, strict=True))
        ]
        log_pz, log_pc, log_qz, log_qc = (list(column) for column in zip(*facets, strict=True))
        return ElboTerms(log_px, log_pz, log_pc, log_qz, log_qc)

    def log_px(
        self,
        x: Tensor,
        posteriors: Sequence[DiagonalNormal],
        noise: Sequence[Tensor],
        fade_in: Tensor,
        precision: torch.dtype,
    ) -> Float[Tensor, "seed batch"]:
        """Return the mean of log p(x | z) over samples of the posteriors, in nats an image (see :meth:`terms`)."""
        target = self.network.target(x)
        log_px = []
        for one in zip(*noise, strict=True):
            latents = [qz.sample(e, precision) for qz, e in zip(posteriors, one, strict=True)]
            log_px.append(self.likelihood.log_prob(self.decode(latents, fade_in), target))
        return log_px[0] if len(log_px) == 1 else torch.stack(log_px).mean(0)
