"""Log-probability of grey pixels under independent Bernoulli distributions given by logits, and its gradient."""

# Triton's language is Python in form only.
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false, reportAttributeAccessIssue=false

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

_WIDTH = 1024  # pixels of one step


def log_prob(logits: Float[Tensor, "*batch pixel"], x: Float[Tensor, "*batch pixel"]) -> Float[Tensor, "*batch"]:
    """Return log p(x) in nats, in single precision."""
    total = torch.empty(logits.shape[:-1], dtype=torch.float32, device=logits.device)
    _log_prob[(total.numel(),)](logits.contiguous(), x.contiguous(), total, logits.shape[-1], _WIDTH)
    return total


def gradient(
    grad: Float[Tensor, "*batch"], logits: Float[Tensor, "*batch pixel"], x: Float[Tensor, "*batch pixel"]
) -> Float[Tensor, "*batch pixel"]:
    """Return the gradient of the logits, given that of :func:`log_prob`'s result."""
    of_logits = torch.empty_like(logits, memory_format=torch.contiguous_format)
    _gradient[(grad.numel(),)](
        grad.contiguous(), logits.contiguous(), x.contiguous(), of_logits, logits.shape[-1], _WIDTH
    )
    return of_logits


@triton.jit
def _log_prob(logits, x, total, n_pixels, width: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    part = tl.zeros((width,), tl.float32)
    for start in range(0, n_pixels, width):
        pixels = start + tl.arange(0, width)
        inside = pixels < n_pixels
        a = tl.load(logits + row * n_pixels + pixels, mask=inside, other=0.0).to(tl.float32)
        target = tl.load(x + row * n_pixels + pixels, mask=inside, other=0.0)
        # log p = x a - log(1 + exp(a)), without overflow
        value = target * a - tl.maximum(a, 0.0) - tl.log(1.0 + tl.exp(-tl.abs(a)))
        part += tl.where(inside, value, 0.0)
    tl.store(total + row, tl.sum(part, axis=0))


@triton.jit
def _gradient(grad, logits, x, of_logits, n_pixels, width: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    g = tl.load(grad + row)
    for start in range(0, n_pixels, width):
        pixels = start + tl.arange(0, width)
        inside = pixels < n_pixels
        a = tl.load(logits + row * n_pixels + pixels, mask=inside, other=0.0).to(tl.float32)
        target = tl.load(x + row * n_pixels + pixels, mask=inside, other=0.0)
        small = tl.exp(-tl.abs(a))  # the sigmoid without overflow
        value = g * (target - tl.where(a >= 0, 1.0, small) / (1.0 + small))
        tl.store(of_logits + row * n_pixels + pixels, value.to(of_logits.dtype.element_ty), mask=inside)
