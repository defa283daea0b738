"""Between stored images and the numbers that models compute with."""

from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor

from pipeline.core.shapes import Inputs
from pipeline.model.mfcvae import MultiFacetVae
from pipeline.model.posterior import DiagonalNormal


def as_floats(inputs: Shaped[Tensor, "*batch"], dtype: torch.dtype) -> Float[Tensor, "*batch"]:
    """Return what a model computes with: uint8 pixels scaled to [0, 1], floats as they are."""
    converted = inputs.to(dtype)
    return converted.div_(255) if inputs.dtype == torch.uint8 else converted


def as_bytes(pixels: Float[Tensor, "*batch"]) -> UInt8[Tensor, "*batch"]:
    """Round pixels in [0, 1] to uint8, on the CPU; what lies outside is clipped."""
    return (pixels * 255).round().clamp(0, 255).to(torch.uint8).cpu()


def for_every_seed(model: MultiFacetVae, inputs: Inputs) -> Float[Tensor, "seed batch channel height width"]:
    """Return the same inputs for every seed of a model, on its device and in its precision."""
    like = model.prior(0).means
    x = as_floats(inputs.to(like.device), like.dtype)
    return x.expand(model.n_seeds, *x.shape)


def encode_blocks(
    model: MultiFacetVae, blocks: Iterable[Shaped[Tensor, "_ channel height width"]]
) -> Iterator[list[DiagonalNormal]]:
    """Yield q(z_j | x) of every facet for all seeds, block by block, in evaluation mode and without gradients."""
    model.eval()
    for block in blocks:
        with torch.no_grad():
            posteriors = model.encode(for_every_seed(model, block))
        yield posteriors
