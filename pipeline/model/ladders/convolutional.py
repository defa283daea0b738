"""Ladder of convolutional blocks (paper, tables 5 and 6), for any image size and number of channels.

Every block is layer → activation → batch normalisation, the output block too (the authors' program).
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.config.sections import ModelParams
from pipeline.datasets.store.spec import Shape
from pipeline.model.activation import activate_
from pipeline.model.convolution import BatchNorm, Convolution, channels_last, concatenate_channels, flatten_images
from pipeline.model.dense import Dense
from pipeline.model.ladders.base import AbstractArchitecture
from pipeline.model.posterior import DiagonalNormal, bounded_posterior

Size = tuple[int, int]
_SMALLEST_HALVED = 4  # sides below it are kept by a 3×3 convolution of stride 1


class Block(nn.Module):
    """A layer, the activation, batch normalisation."""

    def __init__(self, n_seeds: int, layer: Dense | Convolution, activation: str) -> None:
        super().__init__()
        self.layer = layer
        self.norm = BatchNorm(n_seeds, layer.bias.shape[1])
        self._activation = activation

    def forward(self, x: Float[Tensor, "seed batch *features"]) -> Float[Tensor, "seed batch *out"]:
        """Apply the three."""
        return self.norm(activate_(self.layer(x), self._activation))


class ConvLadder(AbstractArchitecture):
    """Convolutional encoder and decoder; ``params.hidden`` holds one number of channels a backbone block.

    Encoder: block j halves the image; rung j halves once more, then convolves (4×4, padding 1): with stride 1 and the
    same width, or with stride 2 and twice the width for the deepest facet. Decoder: the deepest latent becomes an image
    of the size after the deepest block; each block doubles the size; rung j joins by concatenation of channels.
    """

    seeds_at_once = 1  # cuDNN takes seeds one after the other: measured on an H200

    def __init__(self, n_seeds: int, params: ModelParams, image_shape: Shape) -> None:
        super().__init__()
        self._n_seeds, self._activation = n_seeds, params.activation
        channels = [block[0] for block in params.hidden]
        sizes: list[Size] = [image_shape[1:]]
        encoder, rungs, heads = [], [], []
        deepest = len(channels) - 1
        for j, (n_in, width) in enumerate(pairwise([image_shape[0], *channels])):
            block, size = self._down(n_in, width, sizes[-1], halve=True)
            encoder.append(block)
            sizes.append(size)
            n_out = 2 * width if j == deepest else width
            one, half = self._down(width, width, size, halve=True)
            two, end = self._down(width, n_out, half, halve=j == deepest)
            rungs.append(nn.Sequential(one, two))
            heads.append(Dense(n_seeds, n_out * end[0] * end[1], 2 * params.latent_dims[j]))
        self.encoder_blocks, self.encoder_rungs = nn.ModuleList(encoder), nn.ModuleList(rungs)
        self.heads = nn.ModuleList(heads)

        # At depth j the decoder holds twice channels[j]: an upper half and facet j's rung (the deepest is all rung).
        self._rung_shapes = [(2 * width if j == deepest else width, *sizes[j + 1]) for j, width in enumerate(channels)]
        self.decoder_rungs = nn.ModuleList(
            Block(n_seeds, Dense(n_seeds, dim, shape[0] * shape[1] * shape[2]), params.activation)
            for dim, shape in zip(params.latent_dims, self._rung_shapes, strict=True)
        )
        self.decoder_blocks = nn.ModuleList(
            self._up_block(channels, j, sizes[j + 1], sizes[j]) for j in range(1, len(channels))
        )
        self.output = self._up(2 * channels[0], image_shape[0], sizes[1], sizes[0])

    def encode(self, x: Float[Tensor, "seed batch channel height width"], first: int) -> list[DiagonalNormal]:
        """Climb the convolutional blocks; a rung and a head at every one from ``first`` on."""
        posteriors = []
        x = channels_last(x)
        for j, (block, rung, head) in enumerate(zip(self.encoder_blocks, self.encoder_rungs, self.heads, strict=True)):
            x = block(x)
            if j >= first:
                posteriors.append(bounded_posterior(head(flatten_images(rung(x)))))
        return posteriors

    def decode(
        self, latents: Sequence[Float[Tensor, "seed batch _"]], fade_in: Float[Tensor, " facet"]
    ) -> Float[Tensor, "seed batch pixel"]:
        """Descend from the deepest latent; each rung below appends its latent's feature maps, faded in."""
        deepest = len(self.decoder_rungs) - 1
        first = len(self.decoder_rungs) - len(latents)
        h = channels_last(self.decoder_rungs[deepest](latents[-1]).unflatten(2, self._rung_shapes[deepest]))
        for j in reversed(range(deepest)):
            h = self.decoder_blocks[j](h)
            h = concatenate_channels(h, self._rung(latents, fade_in, j, first, h))
        return flatten_images(self.output(h))

    def _rung(self, latents: Sequence[Tensor], fade_in: Tensor, facet: int, first: int, like: Tensor) -> Tensor:
        if facet < first:
            return torch.zeros_like(like)
        rung = fade_in[facet].to(like.dtype) * self.decoder_rungs[facet](latents[facet - first])
        return channels_last(rung.unflatten(2, self._rung_shapes[facet]))

    def _down(self, n_in: int, n_out: int, size: Size, halve: bool) -> tuple[Block, Size]:
        is_small = min(size) < _SMALLEST_HALVED
        kernel, stride = (3, 1) if is_small else (4, 2 if halve else 1)
        layer = Convolution(self._n_seeds, n_in, n_out, kernel, stride, padding=1)
        out = tuple((side + 2 - kernel) // stride + 1 for side in size)
        return Block(self._n_seeds, layer, self._activation), (out[0], out[1])

    def _up(self, n_in: int, n_out: int, size: Size, target: Size) -> Block:
        is_same = size == target
        kernel, stride = (3, 1) if is_same else (4, 2)
        # A transposed 4×4 convolution of stride 2 gives 2·side; an odd target needs one row more.
        extra = (0, 0) if is_same else (target[0] - 2 * size[0], target[1] - 2 * size[1])
        layer = Convolution(self._n_seeds, n_in, n_out, kernel, stride, padding=1, output_padding=extra)
        return Block(self._n_seeds, layer, self._activation)

    def _up_block(self, channels: list[int], j: int, size: Size, target: Size) -> nn.Sequential:
        up = self._up(2 * channels[j], channels[j], size, target)
        same = Convolution(self._n_seeds, channels[j], channels[j - 1], 3, 1, padding=1)
        return nn.Sequential(up, Block(self._n_seeds, same, self._activation))
