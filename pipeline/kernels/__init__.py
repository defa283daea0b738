"""Triton kernels for what a training step does beside its products on a GPU.

Such a step is bound by memory and by the number of kernels: each of these does in one pass what torch does in several.
They compute what the plain operations beside their callers do, up to rounding; those remain for processors, and for
machines on which Triton does not work (it needs a C compiler). What they gain: a step of ten seeds of MNIST on an H200
takes 0.98 ms in place of 1.80 (benchmarks/gpu.py: results/gpu-mnist.json today, and as it was in commit c12f57b).
"""

import logging
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

# Matrix units of a GPU load so much at once; of rows that do not divide into it they take three times as long.
_LOAD_BYTES = 16

_log = logging.getLogger(__name__)


def run_on(x: Tensor) -> bool:
    """Tell whether the kernels work on a tensor; the first call for a GPU compiles and runs a trial kernel."""
    return x.is_cuda and x.dtype != torch.float64 and _work()


def up_to_a_load(length: int, dtype: torch.dtype) -> int:
    """Return the least length of a row, from ``length`` on, that divides into loads."""
    step = _LOAD_BYTES // dtype.itemsize
    return -(-length // step) * step


def numbers_a_load(*row_lengths: int) -> int:
    """Return how many numbers a thread can load at once in rows of all these lengths, one after another.

    A kernel that is given lengths in this unit knows that its rows begin where such loads may.
    """
    return next(n for n in (8, 4, 2, 1) if not any(length % n for length in row_lengths))


@cache
def _work() -> bool:
    if find_spec("triton") is None:
        _log.warning("dense models train half as fast on this GPU: Triton is not installed")
        return False
    from pipeline.kernels.trial import try_kernel

    try:
        try_kernel()
    except Exception as error:  # noqa: BLE001 - whatever a missing or broken compiler leads to
        _log.warning("dense models train half as fast on this GPU: Triton does not work here (%s)", error)
        return False
    return True
