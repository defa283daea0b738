"""Where and how precisely a stage computes: ``auto`` resolved to a device and a precision."""

from dataclasses import dataclass
from typing import Literal

import torch

from pipeline.config.sections import TrainParams
from pipeline.core.errors import ResourceError
from pipeline.model import MultiFacetVae
from pipeline.model.precision import best_device, multiplies_bfloat16

DeviceName = Literal["auto", "cpu", "cuda"]

KEPT_MEMORY = 1 << 30
"""Bytes that a training process keeps when it frees them: every step asks for the same buffers again."""

_LEAST_PARALLEL = 5e8  # operations of a step; below it, threads wait for each other longer than they work


@dataclass(frozen=True)
class Runtime:
    """A device and the type of the network's products."""

    device: torch.device
    precision: torch.dtype

    def describe(self) -> dict[str, str | int]:
        """Return what ``model.json`` records of it."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"
        return {
            "device": name,
            "precision": str(self.precision).removeprefix("torch."),
            "threads": torch.get_num_threads(),
        }


def resolve_runtime(params: TrainParams) -> Runtime:
    """Resolve ``device`` and ``precision``.

    bfloat16 is taken where the device multiplies it.

    Raises:
        ResourceError: ``cuda`` is asked for and there is none.
    """
    device = resolve_device(params.device)
    if params.precision != "auto":
        return Runtime(device, getattr(torch, params.precision))
    return Runtime(device, torch.bfloat16 if multiplies_bfloat16(device) else torch.float32)


def resolve_device(name: DeviceName) -> torch.device:
    """Return the device that ``train.device`` names; ``auto`` takes CUDA where there is any.

    Raises:
        ResourceError: ``cuda`` is asked for and there is none.
    """
    if name == "cpu":
        return torch.device("cpu")
    device = best_device()
    if name == "cuda" and device.type != "cuda":
        raise ResourceError("device is cuda, but no CUDA device was found; use auto or cpu")
    return device


def limit_threads(model: MultiFacetVae, batch_size: int) -> None:
    """Compute with one thread where a training step is too small to be shared between processors."""
    n_weights = sum(parameter.numel() for parameter in model.network.parameters()) // model.n_seeds
    # Two operations a weight and image in each of three products: forward, and both gradients.
    if 6 * n_weights * batch_size < _LEAST_PARALLEL:
        torch.set_num_threads(1)
