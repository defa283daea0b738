"""Dense layers with a leading seed axis: every parameter is stacked over the seeds that train side by side.

One seed (inference, training on a CPU) takes the plain path without a batched product. The precision of a product is
the precision of its input; parameters stay in float32 (or float64) and are cast on the way.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from pipeline import kernels
from pipeline.model.activation import activate_, pre_activation_gradient


class Dense(nn.Module):
    """A dense layer per seed: y_s = activation(x_s W_sᵀ + b_s)."""

    def __init__(self, n_seeds: int, n_in: int, n_out: int, activation: str | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_seeds, n_out, n_in))
        self.bias = nn.Parameter(torch.empty(n_seeds, n_out))
        self._activation = activation

    @property
    def fan_in(self) -> int:
        """Number of inputs of one output."""
        return self.weight.shape[2]

    def forward(self, x: Float[Tensor, "seed batch feature"]) -> Float[Tensor, "seed batch out"]:
        """Apply each seed's own map to its batch."""
        return self._apply_map(x, self._activation)

    def pre_activation(self, x: Float[Tensor, "seed batch feature"]) -> Float[Tensor, "seed batch out"]:
        """Return what the activation is applied to."""
        return self._apply_map(x, None)

    def _apply_map(self, x: Tensor, activation: str | None) -> Tensor:
        output = _DenseLayer.apply(x, self.weight, self.bias, activation)
        assert isinstance(output, Tensor)
        return output


class _DenseLayer(torch.autograd.Function):
    """activation(x Wᵀ + b) in the precision of x, with gradients in the precision and layout of the parameters.

    Autograd's own route computes the transposed gradient of W, converts it, and copies it once more into place: a third
    of a step's time on a CPU.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, activation: str | None) -> Tensor:
        low_weight, low_bias = weight.to(x.dtype), bias.to(x.dtype)
        ctx.needs_input, ctx.parameter_dtype, ctx.shape = x.requires_grad, weight.dtype, weight.shape
        ctx.activation = activation
        if len(weight) == 1:
            # Written into the result itself: no view, so that the result can be changed in place.
            y = x.new_empty(1, x.shape[1], weight.shape[1])
            torch.addmm(low_bias[0], x[0], low_weight[0].T, out=y[0])
        else:
            n_out, n_in = weight.shape[1:]
            x, low_weight = _aligned(x, 0, n_in), _aligned(low_weight, n_out, n_in)
            if kernels.run_on(x):
                from pipeline.kernels import dense

                y = dense.add_bias_and_activate(torch.bmm(x, low_weight.mT), low_bias, activation)
                ctx.save_for_backward(x, low_weight, y if activation else None)
                return y
            y = torch.baddbmm(_aligned(low_bias[:, None], 0, n_out), x, low_weight.mT)
            y = y if y.shape[2] == n_out else y[..., :n_out].contiguous()
        if activation:
            activate_(y, activation)
        ctx.save_for_backward(x, low_weight, y if activation else None)
        return y

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        (grad,) = grad_outputs
        x, weight, y = ctx.saved_tensors
        n_out, n_in = ctx.shape[1:]
        if len(weight) > 1 and kernels.run_on(grad):
            from pipeline.kernels import dense

            grad, grad_bias = dense.pre_activation_gradients(grad, y, ctx.activation, weight.shape[1])
        else:
            grad = pre_activation_gradient(grad, y, ctx.activation)
            grad_bias = sum_of_rows(grad)
            grad = grad if len(weight) == 1 else _aligned(grad, 0, n_out)
        if len(weight) == 1:
            grad_x = (grad[0] @ weight[0])[None] if ctx.needs_input else None
            grad_weight = (grad[0].T @ x[0])[None]
        else:
            grad_x = (grad @ weight)[..., :n_in] if ctx.needs_input else None
            grad_weight = (grad.mT @ x)[:, :n_out, :n_in]
        return grad_x, grad_weight.to(ctx.parameter_dtype), grad_bias.to(ctx.parameter_dtype), None


def sum_of_rows(x: Float[Tensor, "seed row column"]) -> Float[Tensor, "seed column"]:
    """Return the sums in the precision of x; only results are rounded (converting first takes five times as long).

    On a GPU a product with ones: twice as fast, and of images five times.
    """
    if x.is_cuda:
        return torch.bmm(x.new_ones(len(x), 1, x.shape[1]), x)[:, 0]
    return x.sum(1)


def _aligned(x: Tensor, n_rows: int, n_columns: int) -> Tensor:
    """Lengthen the last axes until matrix units load them well: by what lies in the room behind them, else by zeros.

    Of the two factors of a product, the weights have zeros in such room (see :func:`make_room`), the other any numbers.
    """
    below, right = (kernels.up_to_a_load(n, x.dtype) - n for n in (n_rows, n_columns))
    if not below and not right:
        return x
    shape = (*x.shape[:-2], x.shape[-2] + below, x.shape[-1] + right)
    if x.dim() == 3 and x.stride() == (shape[-2] * shape[-1], shape[-1], 1):
        return x.as_strided(shape, x.stride())
    return functional.pad(x, (0, right, 0, below))


def make_room(shape: tuple[int, ...], like: Tensor, dtype: torch.dtype) -> Tensor:
    """Return zeros of a shape; for weights of batched products, with zeros behind them for matrix units to load."""
    if len(shape) != 3 or shape[0] == 1:
        return like.new_zeros(shape, dtype=dtype)
    n_rows, n_columns = (kernels.up_to_a_load(n, dtype) for n in shape[1:])
    return like.new_zeros(shape[0], n_rows, n_columns, dtype=dtype)[:, : shape[1], : shape[2]]
