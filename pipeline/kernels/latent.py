"""From a head's output to a posterior, and from a posterior to a sample, each with its gradient."""

# Triton's language is Python in form only.
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false, reportAttributeAccessIssue=false

from typing import Any

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from pipeline.kernels import up_to_a_load

_TILE = 1024  # numbers of one program


def split_head(
    raw: Float[Tensor, "*batch two_latent"], least: float, most: float
) -> tuple[Float[Tensor, "*batch latent"], Float[Tensor, "*batch latent"]]:
    """Return a posterior's means and its log-variances between two bounds, in single precision."""
    output = _SplitHead.apply(raw, least, most)
    assert isinstance(output, tuple)
    return output


def sample(
    mean: Float[Tensor, "*batch latent"],
    log_variance: Float[Tensor, "*batch latent"],
    noise: Float[Tensor, "*batch latent"],
    precision: torch.dtype,
) -> Float[Tensor, "*batch latent"]:
    """Return mean + exp(log_variance / 2) · noise in some precision, with room for matrix units behind every row."""
    z = _Sample.apply(mean, log_variance, noise, precision)
    assert isinstance(z, Tensor)
    return z


class _SplitHead(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, raw: Tensor, least: float, most: float) -> tuple[Tensor, Tensor]:
        raw = raw.contiguous()
        shape = (*raw.shape[:-1], raw.shape[-1] // 2)
        mean, log_variance = (torch.empty(shape, dtype=torch.float32, device=raw.device) for _ in range(2))
        _split_head[_grid(mean)](raw, mean, log_variance, mean.numel(), shape[-1], least, most, _TILE)
        ctx.save_for_backward(raw)
        ctx.bounds = least, most
        return mean, log_variance

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        (raw,) = ctx.saved_tensors
        of_mean, of_log_variance = (grad.contiguous() for grad in grad_outputs)
        of_raw = torch.empty_like(raw)
        _join_gradients[_grid(of_mean)](
            raw, of_mean, of_log_variance, of_raw, of_mean.numel(), of_mean.shape[-1], *ctx.bounds, _TILE
        )
        return of_raw, None, None


class _Sample(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mean: Tensor, log_variance: Tensor, noise: Tensor, precision: torch.dtype) -> Tensor:
        mean, log_variance, noise = mean.contiguous(), log_variance.contiguous(), noise.contiguous()
        n_latents = mean.shape[-1]
        n_loaded = up_to_a_load(n_latents, precision)
        loaded = torch.empty((*mean.shape[:-1], n_loaded), dtype=precision, device=mean.device)
        _sample[_grid(loaded)](mean, log_variance, noise, loaded, loaded.numel(), n_latents, n_loaded, _TILE)
        ctx.save_for_backward(log_variance, noise)
        return loaded[..., :n_latents]

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, None, None]:
        log_variance, noise = ctx.saved_tensors
        n_latents = noise.shape[-1]
        rows = grad_outputs[0].reshape(-1, n_latents)  # mostly the corner of wider rows, which needs no copy
        rows = rows if rows.stride(1) == 1 else rows.contiguous()
        of_mean, of_log_variance = torch.empty_like(log_variance), torch.empty_like(log_variance)
        _sample_gradients[_grid(noise)](
            rows, log_variance, noise, of_mean, of_log_variance, noise.numel(), n_latents, rows.stride(0), _TILE
        )
        return of_mean, of_log_variance, None, None


def _grid(x: Tensor) -> tuple[int]:
    return (triton.cdiv(x.numel(), _TILE),)


@triton.jit(do_not_specialize=["n", "n_latents"])
def _split_head(raw, mean, log_variance, n, n_latents, least, most, tile: tl.constexpr):
    at = tl.program_id(0) * tile + tl.arange(0, tile)
    inside = at < n
    raw_at = at // n_latents * 2 * n_latents + at % n_latents
    tl.store(mean + at, tl.load(raw + raw_at, mask=inside).to(tl.float32), mask=inside)
    x = tl.load(raw + raw_at + n_latents, mask=inside).to(tl.float32)
    x = tl.where(x < least, least, tl.where(x > most, most, x))  # NaN propagates
    tl.store(log_variance + at, x, mask=inside)


@triton.jit(do_not_specialize=["n", "n_latents"])
def _join_gradients(raw, of_mean, of_log_variance, of_raw, n, n_latents, least, most, tile: tl.constexpr):
    at = tl.program_id(0) * tile + tl.arange(0, tile)
    inside = at < n
    raw_at = at // n_latents * 2 * n_latents + at % n_latents
    g = tl.load(of_mean + at, mask=inside)
    tl.store(of_raw + raw_at, g.to(of_raw.dtype.element_ty), mask=inside)
    x = tl.load(raw + raw_at + n_latents, mask=inside).to(tl.float32)
    g = tl.where((x >= least) & (x <= most), tl.load(of_log_variance + at, mask=inside), 0.0)
    tl.store(of_raw + raw_at + n_latents, g.to(of_raw.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["n", "n_latents", "n_loaded"])
def _sample(mean, log_variance, noise, loaded, n, n_latents, n_loaded, tile: tl.constexpr):
    loaded_at = tl.program_id(0) * tile + tl.arange(0, tile)
    latent = loaded_at % n_loaded
    at = loaded_at // n_loaded * n_latents + latent
    inside = (loaded_at < n) & (latent < n_latents)
    std = tl.exp(0.5 * tl.load(log_variance + at, mask=inside, other=0.0))
    value = tl.load(mean + at, mask=inside, other=0.0) + std * tl.load(noise + at, mask=inside, other=0.0)
    tl.store(loaded + loaded_at, value.to(loaded.dtype.element_ty), mask=loaded_at < n)


@triton.jit(do_not_specialize=["n", "n_latents", "row"])
def _sample_gradients(grad, log_variance, noise, of_mean, of_log_variance, n, n_latents, row, tile: tl.constexpr):
    at = tl.program_id(0) * tile + tl.arange(0, tile)
    inside = at < n
    g = tl.load(grad + at // n_latents * row + at % n_latents, mask=inside).to(tl.float32)
    std = tl.exp(0.5 * tl.load(log_variance + at, mask=inside))
    tl.store(of_mean + at, g, mask=inside)
    tl.store(of_log_variance + at, 0.5 * g * std * tl.load(noise + at, mask=inside), mask=inside)
