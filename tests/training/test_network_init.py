import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from pipeline.mixture.initial import encode_means
from pipeline.model import MultiFacetVae
from pipeline.model.checkpoint import seed_state
from pipeline.model.convolution import Convolution
from pipeline.model.dense import Dense
from pipeline.training.network_init import init_network, initial_spread
from tests.model.builders import CONVOLUTIONAL, FAMILIES, SHAPE, TINY, spec_of
from tests.training.builders import assert_same_state, uint8_images

WIDE = replace(TINY, hidden=((300,), (200,)))


def initialised(params, seeds=(0,), n=64, dtype=torch.float64):
    model = MultiFacetVae(params, spec_of(params), len(seeds)).to(dtype)
    x = uint8_images(n, params).to(dtype) / 255
    init_network(model, seeds, x)
    return model.requires_grad_(False), x


def layers_of(model):
    return {name: m for name, m in model.network.named_modules() if isinstance(m, Dense | Convolution)}


def test_default_is_torchs_own_rule():
    """Uniform within ±1/√fan_in, weights and biases: same bound, same spread as nn.Linear."""
    model, _ = initialised(WIDE)
    for layer in layers_of(model).values():
        bound = layer.fan_in**-0.5
        plain = nn.Linear(layer.fan_in, layer.bias.shape[1])
        assert plain.weight.abs().max() <= bound
        n = layer.weight.numel()
        assert 0.98 * bound * (1 - 20 / n) < layer.weight.abs().max() <= bound
        assert layer.bias.abs().max() <= bound
        assert layer.weight.square().mean() == pytest.approx(bound**2 / 3, rel=5 / n**0.5)
        assert abs(layer.weight.mean()) < 5 * bound / (3 * n) ** 0.5
        assert layer.bias.std() > 0


@pytest.mark.parametrize("rule", ["default", "data_dependent"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_seed_starts_as_in_its_solo_run(family, rule):
    params = replace(FAMILIES[family], network_init=rule)
    together, _ = initialised(params, (5, 9, 2))
    alone, _ = initialised(params, (9,))
    again, _ = initialised(params, (9,))
    assert_same_state(seed_state(alone, 0), seed_state(again, 0))
    one, other = seed_state(together, 1), seed_state(alone, 0)
    for name, value in other.items():
        torch.testing.assert_close(one[name], value, rtol=1e-8, atol=1e-10, msg=name)
    assert any((one[name] != seed_state(together, 0)[name]).any() for name in one)


@pytest.mark.parametrize("family", FAMILIES)
def test_data_dependent_outputs_have_mean_0_and_deviation_0_1_per_channel(family):
    """Of every layer of every seed on the batch that was looked at, with an eps of 1e-5 under the root."""
    model, x = initialised(replace(FAMILIES[family], network_init="data_dependent"), (0, 1))
    outputs = {}

    def keep(layer, inputs, _):
        outputs[names[layer]] = layer.pre_activation(*inputs)

    names = {layer: name for name, layer in layers_of(model).items()}
    for layer in names:
        layer.register_forward_hook(keep)
    with torch.no_grad():
        model.train()
        posteriors = model.encode(x.expand(2, *x.shape))
        model.decode([qz.mean for qz in posteriors])
    assert outputs.keys() == layers_of(model).keys()
    for name, output in outputs.items():
        axes = tuple(axis for axis in range(output.dim()) if axis not in (0, 2))
        assert output.mean(axes).abs().max() < 1e-10, name
        std = output.std(axes)
        # A channel whose activations are all cut off has no spread to rescale.
        alive = std > 1e-6
        assert alive.double().mean() > 0.8, name
        assert (std[alive] <= 0.1 * (1 + 1e-9)).all(), name
        assert (std[alive] > 0.098).double().mean() > 0.8, name


def test_statistics_of_batch_norm_start_fresh():
    model, _ = initialised(replace(CONVOLUTIONAL, network_init="data_dependent"))
    statistics = {name: value for name, value in model.named_buffers() if "running" in name}
    assert statistics
    for name, value in statistics.items():
        assert (value == (1.0 if name.endswith("var") else 0.0)).all(), name


def test_spread_is_measured_against_the_components_deviation():
    """PyTorch's rule leaves responsibilities open: a spread below half a deviation."""
    model, _ = initialised(WIDE, (0, 1))
    means = encode_means(model, [uint8_images(64)])
    ratios = initial_spread(model, means)
    for ratio, mean in zip(ratios, means, strict=True):
        assert ratio == pytest.approx([(mean[s].std(0).mean() / 0.1).item() for s in range(2)], rel=1e-4)
        assert 0.01 < min(ratio) <= max(ratio) < 0.5


def test_fans_of_a_transposed_convolution():
    layer = Convolution(1, 3, 5, 4, 2, 1, (0, 0))
    assert layer.fan_in == 3 * 16
    assert math.prod(layer.weight.shape) == 3 * 5 * 16
    assert SHAPE == (1, 3, 4)
