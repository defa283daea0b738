"""Bytes to pixels in [0, 1], in two precisions at once."""

# Triton's language is Python in form only.
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false, reportAttributeAccessIssue=false

import torch
import triton
import triton.language as tl
from jaxtyping import Float, UInt8
from torch import Tensor

_TILE = 2048  # numbers of one program


def scale(images: UInt8[Tensor, "*shape"], precision: torch.dtype) -> tuple[Float[Tensor, "*shape"], Tensor]:
    """Return the images divided by 255, in single precision and in another."""
    images = images.contiguous()
    exact = torch.empty_like(images, dtype=torch.float32)
    low = torch.empty_like(images, dtype=precision)
    _scale[(triton.cdiv(images.numel(), _TILE),)](images, exact, low, images.numel(), _TILE)
    return exact, low


@triton.jit
def _scale(images, exact, low, n, tile: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * tile + tl.arange(0, tile)
    x = tl.load(images + at, mask=at < n).to(tl.float32) / 255.0
    tl.store(exact + at, x, mask=at < n)
    tl.store(low + at, x.to(low.dtype.element_ty), mask=at < n)
