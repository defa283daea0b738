"""One stream of random numbers per purpose, all derived from the experiment's seeds."""

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch  # at run time only where it is used: preparing images does without, and starts in a third of the time


def derive_seed(seed: int, *purpose: str | int) -> int:
    """Return a 63-bit seed for one purpose, a pure function of its arguments.

    Args:
        seed: a seed of the experiment.
        *purpose: what the stream is for, e.g. ``"train", "noise"``; other purposes give independent streams.
    """
    text = "/".join([str(seed), *map(str, purpose)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def torch_generator(seed: int, *purpose: str | int, device: "str | torch.device" = "cpu") -> "torch.Generator":
    """Return a torch generator for one purpose (see :func:`derive_seed`)."""
    import torch

    return torch.Generator(device).manual_seed(derive_seed(seed, *purpose))


def numpy_generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """Return a numpy generator for one purpose (see :func:`derive_seed`)."""
    return np.random.default_rng(derive_seed(seed, *purpose))
