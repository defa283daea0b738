"""A new ladder: this file in ``pipeline/model/ladders/`` and one line in ``pipeline/config/ladders.py``."""

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


class Separate(AbstractArchitecture):
    """A dense encoder and decoder for each facet; the decoders' outputs are added up."""

    def __init__(self, n_seeds: int, params: ModelParams, image_shape: Shape) -> None:
        super().__init__()
        n_pixels = math.prod(image_shape)

        def stack(n_in: int, widths: Sequence[int], n_out: int) -> nn.Module:
            hidden = DenseStack(n_seeds, (n_in, *widths), params.activation)
            return nn.Sequential(hidden, Dense(n_seeds, widths[-1], n_out))

        facets = list(zip(params.hidden, params.latent_dims, strict=True))
        self.encoders = nn.ModuleList(stack(n_pixels, widths, 2 * dim) for widths, dim in facets)
        self.decoders = nn.ModuleList(stack(dim, widths, n_pixels) for widths, dim in facets)

    def encode(self, x: Float[Tensor, "seed batch channel height width"], first: int) -> list[DiagonalNormal]:
        """Run the encoders of the facets that take part."""
        return [bounded_posterior(encoder(x.flatten(2))) for encoder in self.encoders[first:]]

    def decode(
        self, latents: Sequence[Float[Tensor, "seed batch _"]], fade_in: Float[Tensor, " facet"]
    ) -> Float[Tensor, "seed batch pixel"]:
        """Add up what the decoders of the facets that take part say, faded in."""
        first = len(self.decoders) - len(latents)
        outputs = [fade_in[j].to(z.dtype) * self.decoders[j](z) for j, z in enumerate(latents, first)]
        return torch.stack(outputs).sum(0)
