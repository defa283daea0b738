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
        gradient: of the copy, without gaps.
        low: the copy: at least as many rows and columns as the master; each row without gaps.
        rate: the learning rate, one number on the device.
        n_steps: gradients seen before this one; one number on the device.
        betas: decay of the moments.
        epsilon: added to the root of the second moment.
    """
    n_seeds, n_columns = len(master), master.shape[-1]
    rows_a_seed = 1 if master.dim() == 2 else master.shape[1]
    low_row, grad_row = (each.stride(-2) for each in (low, gradient))
    low_rows, grad_rows = (each.stride(0) // each.stride(-2) for each in (low, gradient))
    unit = numbers_a_load(n_columns, low_row, grad_row)
    width = min(_WIDTH, triton.next_power_of_2(n_columns))
    height = _TILE // width
    _update[(triton.cdiv(n_seeds * rows_a_seed, height), triton.cdiv(n_columns, width))](
        master, mean, square, gradient, low, rate, n_steps,
        n_seeds * rows_a_seed, rows_a_seed, n_columns // unit, grad_rows, grad_row // unit, low_rows, low_row // unit,
        1.0 - betas[0], betas[1], 1.0 - betas[1], math.log(betas[0]), math.log(betas[1]), epsilon,
        unit, height, width, num_warps=8,
    )  # fmt: skip


@triton.jit(do_not_specialize=["n_rows", "rows_a_seed", "n_columns", "grad_rows", "grad_row", "low_rows", "low_row"])
def _update(
    master, mean, square, gradient, low, rate, n_steps,
    n_rows, rows_a_seed, n_columns, grad_rows, grad_row, low_rows, low_row,
    rest1, beta2, rest2, log_beta1, log_beta2, epsilon,
    unit: tl.constexpr, height: tl.constexpr, width: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0) * height + tl.arange(0, height)
    columns = tl.program_id(1) * width + tl.arange(0, width)
    inside = (rows[:, None] < n_rows) & (columns[None, :] < n_columns * unit)
    rows = rows.to(tl.int64)
    seed, row = rows // rows_a_seed, rows % rows_a_seed
    at = rows[:, None] * (n_columns * unit) + columns[None, :]
    grad_at = (seed * grad_rows + row)[:, None] * (grad_row * unit) + columns[None, :]
    low_at = (seed * low_rows + row)[:, None] * (low_row * unit) + columns[None, :]

    step = tl.load(n_steps) + 1.0
    unbiased1 = 1.0 - tl.exp(step * log_beta1)
    unbiased2 = 1.0 - tl.exp(step * log_beta2)
    g = tl.load(gradient + grad_at, mask=inside).to(tl.float32)
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
