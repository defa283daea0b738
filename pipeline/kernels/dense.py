"""What surrounds the products of dense layers, for all seeds: bias and activation, and the gradients of both."""

# Triton's language is Python in form only.
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false, reportAttributeAccessIssue=false

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from pipeline.kernels import numbers_a_load

_CODES = {None: 0, "relu": 1, "elu": 2}
_TILE, _WIDTH = 2048, 512  # numbers of one program, and of a row at most
_ROWS, _COLUMNS = 256, 32  # of one step of the sum over rows


def add_bias_and_activate(
    product: Float[Tensor, "seed row loaded"], bias: Float[Tensor, "seed column"], activation: str | None
) -> Float[Tensor, "seed row column"]:
    """Return activation(product + bias), in place where the product has no columns beyond those of the bias."""
    n_seeds, n_rows, n_loaded = product.shape
    n_columns = bias.shape[1]
    result = product if n_loaded == n_columns else product.new_empty(n_seeds, n_rows, n_columns)
    width = min(_WIDTH, triton.next_power_of_2(n_columns))
    height, unit = _TILE // width, numbers_a_load(n_columns, n_loaded)
    _bias_activation[(triton.cdiv(n_seeds * n_rows, height), triton.cdiv(n_columns, width))](
        product, bias, result, n_seeds * n_rows, n_rows, n_columns // unit, n_loaded // unit, bias.stride(0),
        _CODES[activation], unit, height, width,
    )  # fmt: skip
    return result


def pre_activation_gradients(
    grad: Float[Tensor, "seed row column"], result: Float[Tensor, "seed row column"] | None, activation: str | None,
    n_loaded: int,
) -> tuple[Float[Tensor, "seed row loaded"], Float[Tensor, "seed column"]]:  # fmt: skip
    """Return the gradients of product and bias, from that of the activated result.

    Args:
        grad: of the result.
        result: what :func:`add_bias_and_activate` returned; unused without activation.
        activation: as there.
        n_loaded: columns of the product; those beyond the result's hold zeros.
    """
    n_seeds, n_rows, n_columns = grad.shape
    grad = grad.contiguous()
    is_new, unit = activation is not None or n_loaded != n_columns, numbers_a_load(n_columns, n_loaded)
    of_product = grad.new_empty(n_seeds, n_rows, n_loaded) if is_new else grad
    of_bias = torch.empty(n_seeds, n_columns, dtype=grad.dtype, device=grad.device)
    _activation_gradient[(n_seeds, triton.cdiv(n_loaded, _COLUMNS))](
        grad, grad if result is None else result, of_product, of_bias, n_rows, n_columns // unit, n_loaded // unit,
        _CODES[activation], is_new, unit, _ROWS, _COLUMNS, num_warps=8,
    )  # fmt: skip
    return of_product, of_bias


@triton.jit(do_not_specialize=["n_rows", "rows_a_seed", "n_columns", "n_loaded", "bias_stride"])
def _bias_activation(
    product, bias, result, n_rows, rows_a_seed, n_columns, n_loaded, bias_stride,
    code: tl.constexpr, unit: tl.constexpr, height: tl.constexpr, width: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0) * height + tl.arange(0, height)
    columns = tl.program_id(1) * width + tl.arange(0, width)
    inside = (rows[:, None] < n_rows) & (columns[None, :] < n_columns * unit)
    rows = rows.to(tl.int64)
    x = tl.load(product + rows[:, None] * (n_loaded * unit) + columns[None, :], mask=inside).to(tl.float32)
    of_seed = (rows // rows_a_seed)[:, None] * bias_stride
    x += tl.load(bias + of_seed + columns[None, :], mask=inside).to(tl.float32)
    if code == 1:
        x = tl.where(x <= 0, 0.0, x)  # NaN propagates
    elif code == 2:
        x = tl.where(x > 0, x, tl.exp(tl.minimum(x, 0.0)) - 1.0)
    tl.store(result + rows[:, None] * (n_columns * unit) + columns[None, :], x.to(result.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["n_rows", "n_columns", "n_loaded"])
def _activation_gradient(
    grad, result, of_product, of_bias, n_rows, n_columns, n_loaded,
    code: tl.constexpr, is_new: tl.constexpr, unit: tl.constexpr, height: tl.constexpr, width: tl.constexpr,
):  # fmt: skip
    seed = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * width + tl.arange(0, width)
    is_column = columns < n_columns * unit
    total = tl.zeros((width,), tl.float32)
    for start in range(0, n_rows, height):
        rows = seed * n_rows + start + tl.arange(0, height)
        is_row = (start + tl.arange(0, height) < n_rows)[:, None]
        inside = is_row & is_column[None, :]
        at = rows[:, None] * (n_columns * unit) + columns[None, :]
        g = tl.load(grad + at, mask=inside, other=0.0).to(tl.float32)
        if code != 0:
            y = tl.load(result + at, mask=inside, other=0.0).to(tl.float32)
            if code == 1:
                g = tl.where(y <= 0, 0.0, g)
            else:
                g = tl.where(y > 0, g, g * (y + 1.0))
        if is_new:
            loaded_at = rows[:, None] * (n_loaded * unit) + columns[None, :]
            loaded = is_row & (columns < n_loaded * unit)[None, :]
            tl.store(of_product + loaded_at, g.to(of_product.dtype.element_ty), mask=loaded)
        total += tl.sum(g, axis=0)
    tl.store(of_bias + seed * (n_columns * unit) + columns, total.to(of_bias.dtype.element_ty), mask=is_column)
