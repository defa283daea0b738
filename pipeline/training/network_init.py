"""Start values of the networks, drawn per seed so that a model of the seed axis equals its solo run."""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.core.seeding import torch_generator
from pipeline.model import MultiFacetVae
from pipeline.model.convolution import BatchNorm, Convolution
from pipeline.model.dense import Dense

_OUTPUT_STD = 0.1  # per channel, after a layer's data-dependent rescaling (authors' program)
_EPS = 1e-5

Layer = Dense | Convolution


def init_network(model: MultiFacetVae, seeds: Sequence[int], x: Float[Tensor, "batch channel height width"]) -> None:
    """Draw all network weights in place, as ``model.params.network_init`` says.

    ``default`` is PyTorch's own uniform rule, ±1/√fan_in for weights and biases; ``data_dependent`` Kaiming-normal with
    zero biases, then every layer in execution order is rescaled so that its outputs on ``x`` have mean 0 and standard
    deviation 0.1 per channel.

    Args:
        model: holds one model a seed.
        seeds: the experiment's seeds, in the order of the model's seed axis.
        x: one batch of unshuffled training images in [0, 1]; only the data-dependent rule looks at it.
    """
    draw = {"default": _draw_default, "data_dependent": _draw_kaiming}[model.params.network_init]
    generators = [torch_generator(seed, "init_mog", "network") for seed in seeds]
    with torch.no_grad():
        for layer in _layers(model):
            for index, generator in enumerate(generators):
                draw(layer, index, generator)
        if model.params.network_init == "data_dependent":
            _rescale(model, x)


def _layers(model: MultiFacetVae) -> list[Layer]:
    return [module for module in model.network.modules() if isinstance(module, Layer)]


def _draw_default(layer: Layer, index: int, generator: torch.Generator) -> None:
    bound = layer.fan_in**-0.5
    layer.weight[index].uniform_(-bound, bound, generator=generator)
    layer.bias[index].uniform_(-bound, bound, generator=generator)


def _draw_kaiming(layer: Layer, index: int, generator: torch.Generator) -> None:
    layer.weight[index].normal_(0.0, math.sqrt(2 / layer.fan_in), generator=generator)
    layer.bias[index].zero_()


def _rescale(model: MultiFacetVae, x: Float[Tensor, "batch channel height width"]) -> None:
    """Run the network once on ``x``; each layer rescales itself before its output goes on."""
    hooks = [layer.register_forward_hook(_standardise) for layer in _layers(model)]
    warm_norms = [module for module in model.network.modules() if isinstance(module, BatchNorm)]
    kept = [(norm.running_mean.clone(), norm.running_var.clone()) for norm in warm_norms]
    model.train()
    try:
        stacked = x.expand(model.n_seeds, *x.shape)
        posteriors = model.encode(stacked)
        model.decode([qz.mean.to(x.dtype) for qz in posteriors])
    finally:
        for hook in hooks:
            hook.remove()
    # The statistics seen while layers were being rescaled belong to no network; training starts from fresh ones.
    for norm, (mean, var) in zip(warm_norms, kept, strict=True):
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(var)


def _standardise(layer: Layer, inputs: tuple[Tensor, ...], _output: Tensor) -> Tensor:
    output = layer.pre_activation(*inputs)
    axes = tuple(axis for axis in range(output.dim()) if axis not in (0, 2))
    mean = output.mean(axes)
    scale = _OUTPUT_STD / (output.var(axes, unbiased=True) + _EPS).sqrt()
    is_transposed = isinstance(layer, Convolution) and layer.is_transposed
    per_output = scale[:, None] if is_transposed else scale[:, :, None]
    layer.weight.mul_(per_output.reshape(per_output.shape + (1,) * (layer.weight.dim() - per_output.dim())))
    layer.bias.copy_((layer.bias - mean) * scale)
    forward: Callable[[Tensor], Tensor] = layer.forward
    return forward(*inputs)


def initial_spread(model: MultiFacetVae, means: Sequence[Float[Tensor, "seed batch _"]]) -> list[list[float]]:
    """Return spread of the latents over the initial component deviation, per facet and seed.

    Above 0.5 the responsibilities are committed before training begins.
    """
    ratios = []
    for facet, mean in enumerate(means):
        deviation = model.prior(facet).covariance.matrices().diagonal(dim1=-2, dim2=-1).sqrt().mean((1, 2))
        ratios.append((mean.std(1).mean(-1) / deviation).tolist())
    return ratios
