"""One shared encoder and decoder with a head per facet (paper, table 6): the ladder's counterpart in ablations."""

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


class SharedTrunk(AbstractArchitecture):
    """Dense trunk for all facets; the decoder takes the concatenated latents, each times its fade-in coefficient.

    The single block of ``hidden`` is the trunk.
    """

    can_widen = True

    def __init__(self, n_seeds: int, params: ModelParams, image_shape: Shape) -> None:
        super().__init__()
        (widths,) = params.hidden
        n_pixels = math.prod(image_shape)
        self.trunk = DenseStack(n_seeds, (n_pixels, *widths), params.activation)
        self.heads = nn.ModuleList(Dense(n_seeds, widths[-1], 2 * dim) for dim in params.latent_dims)
        self.decoder = DenseStack(n_seeds, (sum(params.latent_dims), *reversed(widths)), params.activation)
        self.output = Dense(n_seeds, widths[0], n_pixels)
        self._latent_dims = params.latent_dims

    def encode(self, x: Float[Tensor, "seed batch channel height width"], first: int) -> list[DiagonalNormal]:
        """Run the trunk once; all heads read its last layer."""
        h = self.trunk(x.flatten(2))
        return [bounded_posterior(head(h)) for head in self.heads[first:]]

    def decode(
        self, latents: Sequence[Float[Tensor, "seed batch _"]], fade_in: Float[Tensor, " facet"]
    ) -> Float[Tensor, "seed batch pixel"]:
        """Decode all latents side by side; waiting ones are zeros, new ones are scaled by their fade-in."""
        first = len(self._latent_dims) - len(latents)
        waiting = [latents[-1].new_zeros(*latents[-1].shape[:2], dim) for dim in self._latent_dims[:first]]
        active = [fade_in[first + i].to(z.dtype) * z for i, z in enumerate(latents)]
        return self.output(self.decoder(torch.cat([*waiting, *active], dim=2)))
