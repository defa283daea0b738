"""Ladder of dense blocks (paper, table 4): block j of the backbone feeds the head of facet j and block j+1."""

import math
from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from pipeline.config.sections import ModelParams
from pipeline.datasets.store.spec import Shape
from pipeline.model.dense import Dense
from pipeline.model.ladders.base import AbstractArchitecture
from pipeline.model.posterior import DiagonalNormal, bounded_posterior


class DenseStack(nn.Module):
    """Dense layers, each followed by the activation."""

    def __init__(self, n_seeds: int, widths: Sequence[int], activation: str) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Dense(n_seeds, n_in, n_out, activation) for n_in, n_out in pairwise(widths))

    def forward(self, x: Float[Tensor, "seed batch _"]) -> Float[Tensor, "seed batch _"]:
        """Apply all layers."""
        for layer in self.layers:
            x = layer(x)
        return x


class DenseLadder(AbstractArchitecture):
    """Dense encoder and decoder.

    The decoder mirrors the encoder: from the deepest latent up, at each depth j the rung of facet j joins by
    upper + rung_gate · fade_in_j · rung, and one more layer of the same width mixes the two (the authors' program; the
    paper writes a concatenation, but its widths fit an addition).
    """

    can_widen = True

    def __init__(self, n_seeds: int, params: ModelParams, image_shape: Shape) -> None:
        super().__init__()
        n_pixels = math.prod(image_shape)
        blocks, latent_dims, activation = params.hidden, params.latent_dims, params.activation
        inputs = [n_pixels, *(block[-1] for block in blocks[:-1])]

        self.encoder_blocks = nn.ModuleList(
            DenseStack(n_seeds, (n_in, *block), activation) for n_in, block in zip(inputs, blocks, strict=True)
        )
        self.heads = nn.ModuleList(
            Dense(n_seeds, block[-1], 2 * dim) for block, dim in zip(blocks, latent_dims, strict=True)
        )
        self.rungs = nn.ModuleList(
            DenseStack(n_seeds, (dim, block[-1]), activation) for block, dim in zip(blocks, latent_dims, strict=True)
        )
        self.mixers = nn.ModuleList(DenseStack(n_seeds, (block[-1],) * 2, activation) for block in blocks[:-1])
        # Block j of the decoder leads from depth j to depth j-1; the last layer of block 0 is the output.
        self.decoder_blocks = nn.ModuleList(
            DenseStack(n_seeds, (*reversed(block), n_in) if j else tuple(reversed(block)), activation)
            for j, (n_in, block) in enumerate(zip(inputs, blocks, strict=True))
        )
        self.output = Dense(n_seeds, blocks[0][0], n_pixels)
        self._rung_gate = params.rung_gate

    def encode(self, x: Float[Tensor, "seed batch channel height width"], first: int) -> list[DiagonalNormal]:
        """Climb the trunk; a head at every rung from ``first`` on."""
        h = x.flatten(2)
        posteriors = []
        for j, (block, head) in enumerate(zip(self.encoder_blocks, self.heads, strict=True)):
            h = block(h)
            if j >= first:
                posteriors.append(bounded_posterior(head(h)))
        return posteriors

    def decode(
        self, latents: Sequence[Float[Tensor, "seed batch _"]], fade_in: Float[Tensor, " facet"]
    ) -> Float[Tensor, "seed batch pixel"]:
        """Descend from the deepest latent; each rung below adds what its latent says, gated and faded in."""
        deepest = len(self.rungs) - 1
        first = len(self.rungs) - len(latents)
        h = self.decoder_blocks[deepest](self.rungs[deepest](latents[-1]))
        for j in reversed(range(deepest)):
            if j >= first:
                h = h + (self._rung_gate * fade_in[j]).to(h.dtype) * self.rungs[j](latents[j - first])
            h = self.decoder_blocks[j](self.mixers[j](h))
        return self.output(h)
