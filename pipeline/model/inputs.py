"""Between stored inputs and the numbers that models compute with, as an :class:`InputSpec` says."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor

from pipeline.core.shapes import Inputs
from pipeline.datasets.store.spec import InputSpec
from pipeline.model.mfcvae import MultiFacetVae
from pipeline.model.posterior import DiagonalNormal


def as_floats(spec: InputSpec, inputs: Shaped[Tensor, "*batch"], dtype: torch.dtype) -> Float[Tensor, "*batch"]:
    """Return what a model computes with.

    Args:
        spec: what the inputs are.
        inputs: as stored, with any axes.
        dtype: of the result.

    Raises:
        ValueError: the inputs are not of the spec's type, so that its scale is not theirs.
    """
    if inputs.dtype != _stored_type(spec):
        raise ValueError(f"inputs must be {spec.dtype}, as their spec says, got {inputs.dtype}; convert them first")
    converted = inputs.to(dtype)
    return converted.div_(spec.scale) if spec.dtype == "uint8" else converted


def as_stored(spec: InputSpec, floats: Float[Tensor, "*batch"]) -> Shaped[Tensor, "*batch"]:
    """Return what a model decoded as it would be stored, on the CPU; bytes are rounded, and clipped to their range."""
    if spec.dtype == "uint8":
        floats = (floats * spec.scale).round().clamp(0, spec.scale)
    return floats.to(_stored_type(spec)).cpu()


def as_pictures(spec: InputSpec, floats: Float[Tensor, "*batch"]) -> UInt8[np.ndarray, "..."]:
    """Return what people see of what a model decoded (see :meth:`InputSpec.as_pictures`)."""
    return spec.as_pictures(as_stored(spec, floats).numpy())


def for_every_seed(model: MultiFacetVae, inputs: Inputs) -> Float[Tensor, "seed batch channel height width"]:
    """Return the same inputs for every seed of a model, on its device and in its precision."""
    like = model.prior(0).means
    x = as_floats(model.spec, inputs.to(like.device), like.dtype)
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


def _stored_type(spec: InputSpec) -> torch.dtype:
    return getattr(torch, spec.dtype)
