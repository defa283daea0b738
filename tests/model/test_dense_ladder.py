from dataclasses import replace

import pytest
import torch
from torch import distributions as td

from tests import oracles
from tests.model.builders import (
    TINY,
    gradients,
    loss,
    ones,
    random_images,
    random_model,
    random_noise,
    with_facets,
)


def oracle_loss(model, seed, x, noise, fade_in, pixel_distribution):
    state = {name: value[seed].detach().clone().requires_grad_() for name, value in model.state_dict().items()}
    bound = oracles.two_facet_dense_bound(
        state, x[seed].flatten(1), [e[0, seed] for e in noise], fade_in, model.params.rung_gate, pixel_distribution
    )
    return -bound.mean(), state


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("activation", ["relu"])
@pytest.mark.parametrize("fade_in", [[1.0, 1.0], [0.3, 1.0]])
def test_loss_and_every_gradient_against_a_plain_program(likelihood, activation, fade_in):
    """Two seeds side by side; each seed's loss and the gradient of each of its parameters."""
    params = replace(TINY, likelihood=likelihood, activation=activation)
    model, x, noise = random_model(params, 2), random_images(n_seeds=2), random_noise(n_seeds=2)
    fade = torch.tensor(fade_in, dtype=torch.float64)
    pixel_distribution = {
        # Grey values are no coin flips: the density formula is used as it is.
        "bernoulli": lambda raw: td.Bernoulli(logits=raw, validate_args=False),
        "gaussian": lambda raw: td.Normal(raw.sigmoid(), params.sigma),
    }[likelihood]
    total = loss(model, x, noise, fade)
    total.backward()
    ours, expected = gradients(model), torch.zeros(())
    for seed in range(2):
        one, state = oracle_loss(model, seed, x, noise, fade, pixel_distribution)
        one.backward()
        expected = expected + one.detach()
        assert len(ours) == len(state)
        for name, value in state.items():
            torch.testing.assert_close(ours[name][seed], value.grad, rtol=1e-8, atol=1e-10, msg=name)
    torch.testing.assert_close(total.detach(), expected, rtol=1e-8, atol=0, check_dtype=False)


def test_widths_of_the_papers_mnist_ladder():
    """Table 4, with the mixing layer that the authors' program has."""
    params = replace(TINY, hidden=((500,), (2000,)), latent_dims=(5, 5), n_components=(25, 25))
    shapes = {
        name: tuple(value.shape[1:]) for name, value in random_model(params, shape=(1, 28, 28)).state_dict().items()
    }
    weights = {name.removeprefix("network."): shape for name, shape in shapes.items() if name.endswith("weight")}
    assert weights == {
        "encoder_blocks.0.layers.0.weight": (500, 784),
        "encoder_blocks.1.layers.0.weight": (2000, 500),
        "heads.0.weight": (10, 500),
        "heads.1.weight": (10, 2000),
        "rungs.0.layers.0.weight": (500, 5),
        "rungs.1.layers.0.weight": (2000, 5),
        "decoder_blocks.1.layers.0.weight": (500, 2000),
        "mixers.0.layers.0.weight": (500, 500),
        "output.weight": (784, 500),
    }


def test_vade_layout_is_one_block_mirrored():
    """J = 1 (appendix C.3): 784-500-500-2000-10-2000-500-500-784."""
    params = replace(TINY, hidden=((500, 500, 2000),), latent_dims=(10,), n_components=(50,), covariance=("diagonal",))
    shapes = [
        tuple(v.shape[1:])
        for n, v in random_model(params, shape=(1, 28, 28)).network.named_parameters()
        if v.dim() == 3
    ]
    encoder, rung = [(500, 784), (500, 500), (2000, 500), (20, 2000)], [(2000, 10)]
    decoder = [(500, 2000), (500, 500), (784, 500)]
    assert shapes == [*encoder, *rung, *decoder]


def test_a_waiting_facet_counts_nothing():
    """Without its latent, the decoder gives what a fade-in coefficient of 0 gives."""
    model = random_model()
    z = [torch.randn(1, 4, dim, dtype=torch.float64) for dim in TINY.latent_dims]
    faded_out = model.decode(z, torch.tensor([0.0, 1.0], dtype=torch.float64))
    torch.testing.assert_close(model.decode(z[1:]), faded_out, rtol=0, atol=0)
    assert (model.decode(z) - faded_out).abs().max() > 1e-3


@pytest.mark.parametrize("first", [1, 2])
def test_gradients_reach_the_backbone_but_no_waiting_facet(first):
    params = with_facets(3)
    model, x = random_model(params), random_images()
    loss(model, x, random_noise(params)[first:], ones(params)).backward()
    untouched = {name for name, value in model.named_parameters() if value.grad is None}
    parts = ("network.heads", "network.rungs", "priors")
    expected = {
        n for n, _ in model.named_parameters() for j in range(first) if n.startswith(tuple(f"{p}.{j}." for p in parts))
    }
    assert untouched == expected
