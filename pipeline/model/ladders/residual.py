"""Ladder over rows of features: each facet reads and gives back directions of what the deeper ones' clusters leave."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.config.sections import ModelParams
from pipeline.datasets.store.spec import Shape
from pipeline.model.dense import Dense
from pipeline.model.ladders.base import AbstractArchitecture
from pipeline.model.ladders.dense import DenseStack
from pipeline.model.posterior import DiagonalNormal, bounded_posterior
from pipeline.model.residual_directions import ResidualDirections

_LOG_VARIANCE = (-4.0, 4.0)  # bounds, in units of neighbours' variance: no direction is given back without a fault


class ResidualLadder(AbstractArchitecture):
    """A dense encoder and decoder a facet, over what :class:`ResidualDirections` makes of a row.

    A facet reads as many directions as it has latents. A latent's mean is its direction, and what the encoder adds; a
    facet gives back its latents as these directions, and what the decoder adds. From :meth:`start_linear` on both add
    nothing: training begins with latents that mean something, so that a clustering of them is a start, and refines
    them.

    Raw output and target of the likelihood are these directions, the facets' side by side, so that the bound is one of
    their density. A facet that waits gives 0, the mean of its directions. Log-variances, one a direction, are beside
    the means in the raw output (see :class:`~pipeline.model.likelihoods.standardised.StandardisedLikelihood`).
    """

    def __init__(self, n_seeds: int, params: ModelParams, image_shape: Shape) -> None:
        super().__init__()
        self.directions = ResidualDirections(n_seeds, math.prod(image_shape), params.n_components, params.latent_dims)
        self._latent_dims = params.latent_dims
        facets = list(zip(self.directions.widths, params.hidden, params.latent_dims, strict=True))

        self._last_layers: list[Dense] = []

        def stack(widths: Sequence[int], n_out: int) -> nn.Sequential:
            last = Dense(n_seeds, widths[-1], n_out)
            self._last_layers.append(last)
            return nn.Sequential(DenseStack(n_seeds, widths, params.activation), last)

        self.encoders = nn.ModuleList(stack((width, *block), 2 * dim) for width, block, dim in facets)
        self.log_variance = nn.Parameter(torch.full((n_seeds, sum(self.directions.widths)), 2 * math.log(params.sigma)))
        self.decoders = nn.ModuleList(stack((dim, *reversed(block)), width) for width, block, dim in facets)

    @torch.no_grad()
    def start_linear(self) -> None:
        """Let encoders and decoders add nothing: their last layers become zero."""
        for layer in self._last_layers:
            layer.weight.zero_()
            layer.bias.zero_()

    def encode(self, x: Float[Tensor, "seed batch channel height width"], first: int) -> list[DiagonalNormal]:
        """Run the encoders of the facets that take part, each on what it reads."""
        facets = list(zip(self.encoders, self.directions(x.flatten(2)), self._latent_dims, strict=True))
        return [
            bounded_posterior(encoder(own) + _resized(_resized(own, dim), 2 * dim))
            for encoder, own, dim in facets[first:]
        ]

    def decode(
        self, latents: Sequence[Float[Tensor, "seed batch _"]], fade_in: Float[Tensor, " facet"]
    ) -> Float[Tensor, "seed batch pixel"]:
        """Return the means of all facets' directions side by side, those of a newcomer faded in, and log-variances."""
        first = len(self.decoders) - len(latents)
        shape = latents[0].shape[:2]
        waiting = [latents[0].new_zeros(*shape, width) for width in self.directions.widths[:first]]
        active = [
            fade_in[j].to(z.dtype) * (self.decoders[j](z) + _resized(z, self.directions.widths[j]))
            for j, z in enumerate(latents, first)
        ]
        log_variance = self.log_variance.clamp(*_LOG_VARIANCE).to(latents[0].dtype)
        return torch.cat([*waiting, *active, log_variance[:, None].expand(*shape, -1)], -1)

    def target(self, x: Float[Tensor, "seed batch channel height width"]) -> Float[Tensor, "seed batch pixel"]:
        """Return what the facets read, side by side."""
        return torch.cat(self.directions(x.flatten(2)), -1)

    def inputs(self, mean: Float[Tensor, "seed batch pixel"]) -> Float[Tensor, "seed batch number"]:
        """Return rows that have these directions."""
        return self.directions.restore(list(mean.split(self.directions.widths, -1)))


def _resized(x: Float[Tensor, "*batch _"], n: int) -> Float[Tensor, "*batch n"]:
    """Return the first n numbers of each row, followed by zeros where it has fewer."""
    return nn.functional.pad(x, (0, n - x.shape[-1]))
