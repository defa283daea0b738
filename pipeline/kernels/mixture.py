"""One sample's KL terms of a facet whose components have diagonal covariances, and all their gradients."""

# Triton's language is Python in form only.
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false, reportAttributeAccessIssue=false

from typing import Any

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

_TILE = 4096  # numbers rows × components × latents of one step
_ROWS = 32  # of one program; as many partial sums are added up as there are programs a seed


def sampled_kl(
    mean: Float[Tensor, "seed batch latent"],
    log_variance: Float[Tensor, "seed batch latent"],
    noise: Float[Tensor, "seed batch latent"],
    centre: Float[Tensor, "seed component latent"],
    raw: Float[Tensor, "seed component latent"],
    log_weight: Float[Tensor, "seed component"],
    beta: float,
    floor: float,
) -> Float[Tensor, "seed batch"]:
    """Return log q(z | x) - log Σ_c π_c p(z | c) of the sample that some noise gives, in nats an image.

    Args:
        mean: of the posteriors.
        log_variance: of the posteriors.
        noise: standard normal numbers.
        centre: the components' means.
        raw: the components' variances are softplus(β raw) / β + floor.
        log_weight: log π.
        beta: β.
        floor: least variance.
    """
    kl = _SampledKl.apply(mean, log_variance, noise, centre, raw, log_weight, beta, floor)
    assert isinstance(kl, Tensor)
    return kl


class _SampledKl(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, mean: Tensor, log_variance: Tensor, noise: Tensor, centre: Tensor, raw: Tensor, log_weight: Tensor,
        beta: float, floor: float,
    ) -> Tensor:  # fmt: skip
        inputs = [each.contiguous() for each in (mean, log_variance, noise, centre, raw, log_weight)]
        ctx.save_for_backward(*inputs)
        ctx.constants = beta, floor
        kl = torch.empty(mean.shape[:2], dtype=mean.dtype, device=mean.device)
        _forward[_grid(mean)](*inputs, kl, *_sizes(mean, centre), beta, floor, *_tile(centre))
        return kl

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        mean, log_variance, _, centre, raw, log_weight = inputs = ctx.saved_tensors
        grad_mean, grad_log_variance = torch.empty_like(mean), torch.empty_like(log_variance)
        parts = [centre, raw, log_weight]
        partial = mean.new_empty(_grid(mean)[1], sum(part.numel() for part in parts))
        _backward[_grid(mean)](
            *inputs, grad_outputs[0].contiguous(), grad_mean, grad_log_variance, partial, partial.shape[1],
            *_sizes(mean, centre), *ctx.constants, *_tile(centre),
        )  # fmt: skip
        flat = partial.sum(0).split([part.numel() for part in parts])
        of_prior = [found.view(part.shape) for found, part in zip(flat, parts, strict=True)]
        return grad_mean, grad_log_variance, None, *of_prior, None, None


def _grid(mean: Float[Tensor, "seed batch latent"]) -> tuple[int, int]:
    return len(mean), triton.cdiv(mean.shape[1], _ROWS)


def _sizes(mean: Tensor, centre: Tensor) -> tuple[int, int, int, int]:
    return len(mean), mean.shape[1], centre.shape[1], centre.shape[2]


def _tile(centre: Float[Tensor, "seed component latent"]) -> tuple[int, int, int, int]:
    """Return rows of a program and of one of its steps, and the padded numbers of components and latents."""
    n_components, n_latents = (triton.next_power_of_2(n) for n in centre.shape[1:])
    return _ROWS, min(_ROWS, max(1, _TILE // (n_components * n_latents))), n_components, n_latents


@triton.jit
def _components(
    centre, raw, log_weight, seed, n_components, n_latents, beta, floor, width: tl.constexpr, depth: tl.constexpr
):
    """Return a seed's means, variances, raw variances, and all of log p(z | c) + log π_c that z does not change."""
    components, latents = tl.arange(0, width), tl.arange(0, depth)
    inside = (components[:, None] < n_components) & (latents[None, :] < n_latents)
    at = (seed * n_components + components[:, None]) * n_latents + latents[None, :]
    mu = tl.load(centre + at, mask=inside, other=0.0)
    raw_variance = tl.load(raw + at, mask=inside, other=1.0)
    scaled = beta * raw_variance
    small = tl.exp(-tl.abs(scaled))
    log1p = tl.where(small < 0.01, small * (1.0 - small * (0.5 - small / 3.0)), tl.log(1.0 + small))
    variance = (tl.maximum(scaled, 0.0) + log1p) / beta + floor
    of_latents = tl.where(inside, tl.log(variance) + 1.8378770664093453, 0.0)  # log 2π
    weight = tl.load(log_weight + seed * n_components + components, mask=components < n_components, other=float("-inf"))
    return mu, variance, raw_variance, weight - 0.5 * tl.sum(of_latents, axis=1)


@triton.jit
def _rows(mean, log_variance, noise, seed, n_rows, n_latents, rows, is_row, depth: tl.constexpr):
    """Return log-variances, noise and samples of some rows, where they lie, and which of these places exist."""
    latents = tl.arange(0, depth)
    inside = is_row[:, None] & (latents[None, :] < n_latents)
    at = (seed * n_rows + rows[:, None]) * n_latents + latents[None, :]
    log_var = tl.load(log_variance + at, mask=inside, other=0.0)
    e = tl.load(noise + at, mask=inside, other=0.0)
    z = tl.load(mean + at, mask=inside, other=0.0) + tl.exp(0.5 * log_var) * e
    return log_var, e, z, at, inside


@triton.jit(do_not_specialize=["n_seeds", "n_rows", "n_components", "n_latents"])
def _forward(
    mean, log_variance, noise, centre, raw, log_weight, kl, n_seeds, n_rows, n_components, n_latents, beta, floor,
    n_own: tl.constexpr, height: tl.constexpr, width: tl.constexpr, depth: tl.constexpr,
):  # fmt: skip
    seed = tl.program_id(0).to(tl.int64)
    mu, variance, _raw, constant = _components(
        centre, raw, log_weight, seed, n_components, n_latents, beta, floor, width, depth
    )
    is_latent = tl.arange(0, depth) < n_latents
    for start in range(0, n_own, height):
        rows = tl.program_id(1) * n_own + start + tl.arange(0, height)
        is_row = rows < n_rows
        log_var, e, z, _at, _inside = _rows(mean, log_variance, noise, seed, n_rows, n_latents, rows, is_row, depth)
        away = z[:, None, :] - mu[None, :, :]
        squares = tl.where(is_latent[None, None, :], away * away / variance[None, :, :], 0.0)
        log_joint = constant[None, :] - 0.5 * tl.sum(squares, axis=2)
        most = tl.max(log_joint, axis=1)
        log_p = most + tl.log(tl.sum(tl.exp(log_joint - most[:, None]), axis=1))
        of_noise = tl.where(is_latent[None, :], log_var + e * e + 1.8378770664093453, 0.0)
        tl.store(kl + seed * n_rows + rows, -0.5 * tl.sum(of_noise, axis=1) - log_p, mask=is_row)


@triton.jit(do_not_specialize=["n_partial", "n_seeds", "n_rows", "n_components", "n_latents"])
def _backward(
    mean, log_variance, noise, centre, raw, log_weight, grad, grad_mean, grad_log_variance, partial, n_partial,
    n_seeds, n_rows, n_components, n_latents, beta, floor,
    n_own: tl.constexpr, height: tl.constexpr, width: tl.constexpr, depth: tl.constexpr,
):  # fmt: skip
    seed = tl.program_id(0).to(tl.int64)
    mu, variance, raw_variance, constant = _components(
        centre, raw, log_weight, seed, n_components, n_latents, beta, floor, width, depth
    )
    components, latents = tl.arange(0, width), tl.arange(0, depth)
    is_latent = latents < n_latents
    of_centre = tl.zeros((width, depth), tl.float32)
    of_variance = tl.zeros((width, depth), tl.float32)
    of_weight = tl.zeros((width,), tl.float32)
    for start in range(0, n_own, height):
        rows = tl.program_id(1) * n_own + start + tl.arange(0, height)
        is_row = rows < n_rows
        log_var, e, z, at, inside = _rows(mean, log_variance, noise, seed, n_rows, n_latents, rows, is_row, depth)
        g = tl.load(grad + seed * n_rows + rows, mask=is_row, other=0.0)
        away = z[:, None, :] - mu[None, :, :]
        pull = tl.where(is_latent[None, None, :], away / variance[None, :, :], 0.0)
        log_joint = constant[None, :] - 0.5 * tl.sum(pull * away, axis=2)
        odds = tl.exp(log_joint - tl.max(log_joint, axis=1)[:, None])
        resp = odds * (g / tl.sum(odds, axis=1))[:, None]
        pull = resp[:, :, None] * pull
        of_z = tl.sum(pull, axis=1)
        tl.store(grad_mean + at, of_z, mask=inside)
        of_log_variance = 0.5 * (of_z * tl.exp(0.5 * log_var) * e - g[:, None])
        tl.store(grad_log_variance + at, of_log_variance, mask=inside)
        of_centre -= tl.sum(pull, axis=0)
        of_variance += 0.5 * tl.sum(resp[:, :, None] - pull * away, axis=0)
        of_weight -= tl.sum(resp, axis=0)
    scaled = beta * raw_variance
    small = tl.exp(-tl.abs(scaled))
    of_raw = of_variance / variance * tl.where(scaled >= 0, 1.0, small) / (1.0 + small)
    own = partial + tl.program_id(1) * n_partial
    n_all = n_seeds * n_components
    of_component = seed * n_components + components
    is_component = components < n_components
    inside = is_component[:, None] & is_latent[None, :]
    at = of_component[:, None] * n_latents + latents[None, :]
    tl.store(own + at, of_centre, mask=inside)
    tl.store(own + n_all * n_latents + at, of_raw, mask=inside)
    tl.store(own + 2 * n_all * n_latents + of_component, of_weight, mask=is_component)
