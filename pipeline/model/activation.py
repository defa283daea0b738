"""Activations in place, and their gradients from their results: a layer's own output is not needed for its gradient."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_BLOCK = 2**18  # numbers that stay in a processor's cache in single precision


def activate_(x: Tensor, activation: str) -> Tensor:
    """Activate in place and return the same tensor; differentiable.

    Args:
        x: of any shape; no view.
        activation: ``relu`` or ``elu``.
    """
    if activation == "relu":
        return functional.relu_(x)
    fills_its_memory = x.untyped_storage().nbytes() == x.numel() * x.itemsize
    if x.dtype == torch.bfloat16 and not x.is_cuda and fills_its_memory:
        output = _LowElu.apply(x)
        assert isinstance(output, Tensor)
        return output
    return functional.elu_(x)


def pre_activation_gradient(grad: Tensor, y: Tensor | None, activation: str | None) -> Tensor:
    """Return the gradient of what was activated, from that of the result ``y``; without activation, the same."""
    if activation == "relu":
        return torch.ops.aten.threshold_backward(grad, y, 0)
    if activation == "elu":
        return torch.ops.aten.elu_backward(grad, 1, 1, 1, True, y)
    return grad


class _LowElu(torch.autograd.Function):
    """ELU of bfloat16 as max(x, exp(min(x, 0)) - 1), computed in single precision.

    torch's own takes ``expm1``, a sixth of a convolutional step's time. That is exact also where x is nearly 0: more
    than bfloat16 and batch normalisation keep of it.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        for part in x.as_strided((x.numel(),), (1,)).split(_BLOCK):
            below = part.float().clamp_max_(0).exp_().sub_(1).to(x.dtype)
            torch.maximum(part, below, out=part)
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return pre_activation_gradient(grad_outputs[0], y, "elu")
