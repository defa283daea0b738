"""Rows of numbers as a source of features: what holds them, and which of them can be used."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped

from pipeline.core.errors import DataError
from pipeline.datasets.files.bounds import IMAGE_BYTES
from pipeline.datasets.readers.block import Block
from pipeline.datasets.store.spec import Split

NOT_FINITE = "holds NaN, infinite numbers or some beyond float32; mend the row"


def require_rows(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Check that an array of two axes holds rows of features.

    Args:
        name: of the array.
        shape: of the array, rows first.
        dtype: of its numbers.

    Raises:
        DataError: its numbers are no floats, there are none, or a row takes too many bytes.
    """
    if dtype.kind != "f":
        raise DataError(
            f"{name} must hold floats as rows (n, features), got {dtype} of shape {shape}; convert the array to "
            "float32, or reshape it to (n, height, width) if these are images"
        )
    if 0 in shape:
        raise DataError(f"{name} must hold at least one row of at least one number, got shape {shape}")
    n_bytes = shape[1] * dtype.itemsize
    if n_bytes > IMAGE_BYTES:
        raise DataError(f"{name} must have rows of at most {IMAGE_BYTES} bytes, got {n_bytes}; save fewer features")


def block_of_rows(
    values: Shaped[np.ndarray, "row feature"],
    paths: Sequence[str],
    split: Split | None = None,
) -> tuple[Block, Bool[np.ndarray, " row"]]:
    """Return floating-point numbers as a block without labels, and which rows are in it.

    Rows with a number that is not finite, or beyond the largest float32, are rejected.
    """
    with np.errstate(over="ignore"):
        rows = values.astype(np.float32)
    is_usable = np.asarray(np.isfinite(rows).all(axis=1))
    kept = np.flatnonzero(is_usable)
    block = Block(
        images=(rows if len(kept) == len(rows) else rows[kept])[:, None, None],
        paths=[paths[row] for row in kept.tolist()],
        split=split,
        rejected=[(paths[row], NOT_FINITE) for row in np.flatnonzero(~is_usable).tolist()],
    )
    return block, is_usable
