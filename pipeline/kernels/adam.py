"""Adam for a master in single precision whose products use a copy in lower precision with wider rows."""

# Triton's language is Python in form only.
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false, reportAttributeAccessIssue=false

import math

import triton
import triton.language as tl
from torch import Tensor

from pipeline.kernels import numbers_a_load

_TILE, _WIDTH = 2048, 512  # numbers of one program, and of a row at most


def update(
    master: Tensor,
    mean: Tensor,
    square: Tensor,
    gradient: Tensor,
    low: Tensor,
    rate: Tensor,
    n_steps: Tensor,
    betas: tuple[float, float],
    epsilon: float,
) -> None:
    """Move a parameter and its moments by one step, and bring its copy up to it.

    Args:
        master: the parameter, "seed *rows column"; it and its moments ``mean`` and ``square`` have no gaps.
        mean: running mean of the gradient.
        square: running mean of its square.
        gradient: laid out as ``low``.
        low: the copy: seeds × rows × columns at least as many as the master's, without gaps.
        rate: the learning rate, one number on the device.
        n_steps: gradients seen before this one; one number on the device.
        betas: decay of the moments.
        epsilon: added to the root of the second moment.
    """
    n_seeds, n_columns, low_columns = len(master), master.shape[-1], low.shape[-1]
    rows_a_seed, low_rows = (1, 1) if master.dim() == 2 else (master.shape[1], low.shape[1])
    width = min(_WIDTH, triton.next_power_of_2(n_columns))
    height, unit = _TILE // width, numbers_a_load(n_columns, low_columns)
    _update[(triton.cdiv(n_seeds * rows_a_seed, height), triton.cdiv(n_columns, width))](
        master, mean, square, gradient, low, rate, n_steps,
        n_seeds * rows_a_seed, rows_a_seed, low_rows, n_columns // unit, low_columns // unit,
        1.0 - betas[0], betas[1], 1.0 - betas[1], math.log(betas[0]), math.log(betas[1]), epsilon,
        unit, height, width, num_warps=8,
    )  # fmt: skip


@triton.jit
def _update(
    master, mean, square, gradient, low, rate, n_steps,
    n_rows, rows_a_seed, low_rows, n_columns, low_columns, rest1, beta2, rest2, log_beta1, log_beta2, epsilon,
    unit: tl.constexpr, height: tl.constexpr, width: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0) * height + tl.arange(0, height)
    columns = tl.program_id(1) * width + tl.arange(0, width)
    inside = (rows[:, None] < n_rows) & (columns[None, :] < n_columns * unit)
    rows = rows.to(tl.int64)
    at = rows[:, None] * (n_columns * unit) + columns[None, :]
    low_row = rows // rows_a_seed * low_rows + rows % rows_a_seed
    low_at = low_row[:, None] * (low_columns * unit) + columns[None, :]

    step = tl.load(n_steps) + 1.0
    unbiased1 = 1.0 - tl.exp(step * log_beta1)
    unbiased2 = 1.0 - tl.exp(step * log_beta2)
    g = tl.load(gradient + low_at, mask=inside).to(tl.float32)
    m = tl.load(mean + at, mask=inside)
    v = tl.load(square + at, mask=inside)
    m += rest1 * (g - m)
    v = beta2 * v + rest2 * g * g
    value = tl.load(master + at, mask=inside)
    value -= tl.load(rate) / unbiased1 * m / (tl.sqrt(v) / tl.sqrt(unbiased2) + epsilon)
    tl.store(mean + at, m, mask=inside)
    tl.store(square + at, v, mask=inside)
    tl.store(master + at, value, mask=inside)
    tl.store(low + low_at, value.to(low.dtype.element_ty), mask=inside)
