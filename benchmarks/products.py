"""Matrix products: how many a model needs for an image, and how fast the device does them."""

import time

import torch
from torch import Tensor, nn

from pipeline.config.sections import ModelParams
from pipeline.datasets.store.spec import InputSpec
from pipeline.model import MultiFacetVae
from pipeline.model.convolution import Convolution
from pipeline.model.dense import Dense

_SIDE = {"cuda": 8192, "cpu": 2048}
_REPEATS = 10


def multiply_adds(params: ModelParams, spec: InputSpec) -> int:
    """Return the multiplications of one image's way through all layers; training takes three times as many."""
    model = MultiFacetVae(params, spec).eval()
    total = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        small = inputs[0] if isinstance(layer, Convolution) and layer.is_transposed else output
        weight = next(layer.parameters())
        total += weight[0].numel() * (small[0, 0, 0].numel() if small.dim() == 5 else 1)

    hooks = [one.register_forward_hook(count) for one in model.modules() if isinstance(one, Convolution | Dense)]
    with torch.no_grad():
        model.decode([qz.mean for qz in model.encode(torch.zeros(1, 1, *spec.shape))])
    for hook in hooks:
        hook.remove()
    return total


def product_rate(precision: torch.dtype) -> float:
    """Return the operations a second of a large product on the GPU, or on the processor where there is none."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    square = torch.ones(_SIDE[device], _SIDE[device], device=device, dtype=precision)
    torch.mm(square, square)
    _wait(device)
    start = time.perf_counter()
    for _ in range(_REPEATS):
        torch.mm(square, square)
    _wait(device)
    return _REPEATS * 2 * _SIDE[device] ** 3 / (time.perf_counter() - start)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
