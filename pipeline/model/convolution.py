"""Convolutions and batch normalisation with a leading seed axis, in the manner of :mod:`pipeline.model.dense`."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from pipeline.model.dense import sum_of_rows


class Convolution(nn.Module):
    """A (transposed) convolution per seed, computed as one grouped convolution over the folded seed axis.

    Args:
        n_seeds: seeds side by side.
        n_in: input channels.
        n_out: output channels.
        kernel: side of the square kernel.
        stride: step; of the output where transposed.
        padding: zero padding on each side.
        output_padding: extra rows and columns of a transposed convolution; ``None`` for a plain one.
    """

    def __init__(
        self,
        n_seeds: int,
        n_in: int,
        n_out: int,
        kernel: int,
        stride: int,
        padding: int,
        output_padding: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.is_transposed = output_padding is not None
        first, second = (n_in, n_out) if self.is_transposed else (n_out, n_in)
        self.weight = nn.Parameter(torch.empty(n_seeds, first, second, kernel, kernel))
        self.bias = nn.Parameter(torch.empty(n_seeds, n_out))
        self.stride, self.padding, self.output_padding = stride, padding, output_padding

    @property
    def fan_in(self) -> int:
        """Number of inputs of one output."""
        n_in = self.weight.shape[1] if self.is_transposed else self.weight.shape[2]
        return n_in * self.weight.shape[3] * self.weight.shape[4]

    def forward(
        self, x: Float[Tensor, "seed batch channel height width"]
    ) -> Float[Tensor, "seed batch out_channel out_height out_width"]:
        """Apply each seed's own kernel to its batch."""
        n_seeds = len(self.weight)
        if n_seeds == 1:
            return self._solo(x)
        weight, bias = self.weight.to(x.dtype).flatten(0, 1), self.bias.to(x.dtype).flatten()
        folded = fold_seeds(x)
        if self.output_padding is None:
            y = functional.conv2d(folded, weight, bias, self.stride, self.padding, groups=n_seeds)
        else:
            y = functional.conv_transpose2d(
                folded, weight, bias, self.stride, self.padding, self.output_padding, groups=n_seeds
            )
        return unfold_seeds(y, n_seeds)

    def pre_activation(
        self, x: Float[Tensor, "seed batch channel height width"]
    ) -> Float[Tensor, "seed batch out_channel out_height out_width"]:
        """Return the same: a convolution leaves its activation to others."""
        return self.forward(x)

    def _solo(self, x: Tensor) -> Tensor:
        how = [self.stride] * 2, [self.padding] * 2, [1, 1], self.is_transposed, list(self.output_padding or (0, 0))
        output = _SoloConvolution.apply(x, self.weight, self.bias, how)
        assert isinstance(output, Tensor)
        return output


class BatchNorm(nn.Module):
    """Batch normalisation per seed and channel over the batch and, if present, space."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, n_seeds: int, n_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_seeds, n_channels))
        self.bias = nn.Parameter(torch.zeros(n_seeds, n_channels))
        self.register_buffer("running_mean", torch.zeros(n_seeds, n_channels))
        self.register_buffer("running_var", torch.ones(n_seeds, n_channels))

    def forward(self, x: Float[Tensor, "seed batch channel *space"]) -> Float[Tensor, "seed batch channel *space"]:
        """Normalise by the batch's statistics in training mode, by the running ones in evaluation mode."""
        # view() keeps the update of the running statistics in place; flatten() would do so too, but may copy.
        y = functional.batch_norm(
            fold_seeds(x),
            self.running_mean.view(-1),
            self.running_var.view(-1),
            self.weight.view(-1),
            self.bias.view(-1),
            training=self.training,
        )
        return unfold_seeds(y, len(self.weight))


class _SoloConvolution(torch.autograd.Function):
    """One seed's (transposed) convolution in the precision of x, with weight gradients in that of the parameters.

    The result is a tensor of its own with a seed axis, not a view: what is activated in place behind a view costs two
    copies of every gradient. Gradients are brought into the layout of the images, pixel by pixel on a processor.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, how: tuple[Any, ...]) -> Tensor:
        layout = _layout(x[0])
        low_weight = weight[0].to(x.dtype, memory_format=layout)
        ctx.save_for_backward(x, low_weight)
        ctx.how, ctx.needs_input, ctx.parameter_dtype = how, x.requires_grad, weight.dtype
        y = torch.ops.aten.convolution(x[0], low_weight, bias[0].to(x.dtype), *how, 1)
        return y.new_empty(0).set_(y.untyped_storage(), 0, (1, *y.shape), (y.numel(), *y.stride()))

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        grad = grad_outputs[0][0].contiguous(memory_format=_layout(x[0]))
        grad_x, grad_weight, _ = torch.ops.aten.convolution_backward(
            grad, x[0], weight, [grad.shape[1]], *ctx.how, 1, [ctx.needs_input, True, False]
        )
        # A sum of its own: oneDNN's takes a third of the time of a transposed convolution's weight gradient. Summed in
        # single precision and rounded once, as the products are; converting first takes five times as long.
        grad_bias = _sum_of_pixels(grad).to(ctx.parameter_dtype)[None]
        return grad_x[None] if ctx.needs_input else None, grad_weight[None].to(ctx.parameter_dtype), grad_bias, None


class _Concatenation(torch.autograd.Function):
    """Channels of two batches of one seed side by side, with gradients that lie as the images do."""

    @staticmethod
    def forward(ctx: Any, one: Tensor, other: Tensor) -> Tensor:
        ctx.widths = (one.shape[2], other.shape[2])
        return torch.cat([one[0], other[0]], dim=1)[None]

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, ...]:
        grad = grad_outputs[0][0]
        return tuple(part.contiguous(memory_format=_layout(grad))[None] for part in grad.split(ctx.widths, dim=1))


class _Flattening(torch.autograd.Function):
    """Images of one seed as rows, with gradients that lie as the images do."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape, ctx.layout = x.shape[1:], _layout(x[0])
        return x.flatten(2)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        return grad_outputs[0].reshape(ctx.shape).contiguous(memory_format=ctx.layout)[None]


def channels_last(
    x: Float[Tensor, "seed batch channel height width"],
) -> Float[Tensor, "seed batch channel height width"]:
    """Lay one seed's images out pixel by pixel, which convolutions want; layers and activations keep it so."""
    if len(x) > 1:
        return x
    return x[0].contiguous(memory_format=torch.channels_last)[None]


def concatenate_channels(
    one: Float[Tensor, "seed batch channel height width"], other: Float[Tensor, "seed batch other height width"]
) -> Float[Tensor, "seed batch joined height width"]:
    """Return both, ``one`` first."""
    if len(one) > 1:
        return torch.cat([one, other], dim=2)
    output = _Concatenation.apply(one, other)
    assert isinstance(output, Tensor)
    return output


def flatten_images(
    x: Float[Tensor, "seed batch channel height width"],
) -> Float[Tensor, "seed batch feature"]:
    """Return each image as one row, channel by channel."""
    if len(x) > 1:
        return x.flatten(2)
    output = _Flattening.apply(x)
    assert isinstance(output, Tensor)
    return output


def _sum_of_pixels(x: Float[Tensor, "batch channel height width"]) -> Float[Tensor, " channel"]:
    """Return the sums over images and positions, as :func:`sum_of_rows` does."""
    if x.is_cuda:
        return sum_of_rows(x.permute(0, 2, 3, 1).flatten(0, 2)[None])[0]
    return x.sum((0, 2, 3))


def _layout(x: Float[Tensor, "batch channel height width"]) -> torch.memory_format:
    is_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if is_last else torch.contiguous_format


def fold_seeds(x: Float[Tensor, "seed batch channel *space"]) -> Float[Tensor, "batch seed_channel *space"]:
    """Merge the seed axis into the channels; free of copies for tensors that came out of :func:`unfold_seeds`."""
    return x.squeeze(0) if len(x) == 1 else x.transpose(0, 1).flatten(1, 2)


def unfold_seeds(
    x: Float[Tensor, "batch seed_channel *space"], n_seeds: int
) -> Float[Tensor, "{n_seeds} batch channel *space"]:
    """Undo :func:`fold_seeds`."""
    return x.unsqueeze(0) if n_seeds == 1 else x.unflatten(1, (n_seeds, -1)).transpose(0, 1)
