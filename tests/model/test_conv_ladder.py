from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.model.builders import CONVOLUTIONAL, loss, ones, random_images, random_model, random_noise, with_facets

SIZES = [(1, 2, 2), (1, 3, 5), (3, 5, 5), (1, 7, 9), (2, 8, 8), (4, 13, 4), (3, 15, 16), (1, 31, 33)]


def paper(channels=3):
    return replace(
        CONVOLUTIONAL, hidden=((64,), (128,)), latent_dims=(20, 2), n_components=(60, 20), covariance=("full", "full")
    ), (channels, 32, 32)


def shapes_of(model, kind):
    return [tuple(v.shape[1:]) for n, v in model.network.named_parameters() if v.dim() == 5 and kind in n]


@pytest.mark.parametrize("shape", SIZES)
def test_any_image_size_and_channels(shape):
    model, x = random_model(CONVOLUTIONAL, shape=shape), random_images(CONVOLUTIONAL, shape=shape)
    posteriors = model.encode(x)
    assert [tuple(qz.mean.shape) for qz in posteriors] == [(1, 5, 2), (1, 5, 3)]
    assert model.decode([qz.mean for qz in posteriors]).shape == (1, 5, shape[0] * shape[1] * shape[2])


@pytest.mark.parametrize("n_facets", [1, 2, 3, 5])
@pytest.mark.parametrize("side", [6, 32])
def test_any_number_of_facets(n_facets, side):
    """Also more facets than the image can be halved."""
    params, shape = with_facets(n_facets, CONVOLUTIONAL), (1, side, side)
    model, x = random_model(params, shape=shape), random_images(params, shape=shape)
    value = loss(model, x, random_noise(params))
    value.backward()
    assert torch.isfinite(value)
    assert all(value.grad is not None for value in model.parameters())


def test_the_papers_network_at_32_by_32():
    """Tables 5 and 6 (the paper exchanges the widths of the two heads)."""
    params, shape = paper()
    model = random_model(params, shape=shape, dtype=torch.float32)
    assert [head.fan_in for head in model.network.heads] == [3136, 1024]
    assert shapes_of(model, "encoder_blocks") == [(64, 3, 4, 4), (128, 64, 4, 4)]
    assert shapes_of(model, "encoder_rungs.0") == [(64, 64, 4, 4), (64, 64, 4, 4)]
    assert shapes_of(model, "encoder_rungs.1") == [(128, 128, 4, 4), (256, 128, 4, 4)]
    assert shapes_of(model, "decoder_blocks") == [(256, 128, 4, 4), (64, 128, 3, 3)]
    assert shapes_of(model, "output") == [(128, 3, 4, 4)]
    rungs = {
        n: tuple(v.shape[1:]) for n, v in model.network.named_parameters() if "decoder_rungs" in n and v.dim() == 3
    }
    assert rungs == {
        "decoder_rungs.0.layer.weight": (16 * 16 * 64, 20),
        "decoder_rungs.1.layer.weight": (8 * 8 * 256, 2),
    }
    strides = [(m.layer.stride, m.layer.is_transposed) for m in model.network.decoder_blocks[0]]
    assert strides == [(2, True), (1, False)]


def test_encoder_against_a_plain_program():
    """Layer, activation, batch norm, in that order; in evaluation mode the running statistics."""
    model, x = random_model(CONVOLUTIONAL).eval(), random_images(CONVOLUTIONAL)
    blocks = [model.network.encoder_blocks[0], *model.network.encoder_rungs[0]]
    h = x[0]
    for block in blocks:
        n_out, n_in, kernel, _ = block.layer.weight.shape[1:]
        plain = nn.Sequential(
            nn.Conv2d(n_in, n_out, kernel, block.layer.stride, 1), nn.ELU(), nn.BatchNorm2d(n_out)
        ).double()
        for mine, theirs in ((block.layer, plain[0]), (block.norm, plain[2])):
            state = {name: value[0] for name, value in mine.state_dict().items()}
            theirs.load_state_dict(state, strict=False)
        h = plain.eval()(h)
    head = model.network.heads[0]
    mean = (h.flatten(1) @ head.weight[0].T + head.bias[0])[:, :2]
    torch.testing.assert_close(model.encode(x)[0].mean[0], mean, rtol=1e-10, atol=1e-12)


def test_decoder_output_is_normalised_too():
    """The output block ends in batch norm (the authors' program), so a batch's raw output has its weight and bias."""
    model = random_model(CONVOLUTIONAL).train()
    z = [torch.randn(1, 64, dim, dtype=torch.float64) for dim in CONVOLUTIONAL.latent_dims]
    raw = model.decode(z).unflatten(2, model.spec.shape)
    norm = model.network.output.norm
    torch.testing.assert_close(raw.mean((1, 3, 4)), norm.bias, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(raw.var((1, 3, 4), correction=0), norm.weight.square(), rtol=1e-3, atol=0)


def test_a_waiting_facet_counts_nothing_and_its_parts_see_no_gradient():
    """Neither do the batch-norm statistics of its rung move."""
    model, x = random_model(CONVOLUTIONAL).train(), random_images(CONVOLUTIONAL)
    before = {name: value.clone() for name, value in model.named_buffers()}
    loss(model, x, random_noise(CONVOLUTIONAL)[1:], ones(CONVOLUTIONAL)).backward()
    own = ("network.encoder_rungs.0.", "network.heads.0.", "network.decoder_rungs.0.", "priors.0.")
    untouched = {name for name, value in model.named_parameters() if value.grad is None}
    assert untouched == {name for name, _ in model.named_parameters() if name.startswith(own)}
    still = {name for name, value in model.named_buffers() if torch.equal(value, before[name])}
    assert still == {name for name in before if name.startswith(own)}
    model.eval()
    z = [torch.randn(1, 5, dim, dtype=torch.float64) for dim in CONVOLUTIONAL.latent_dims]
    torch.testing.assert_close(
        model.decode(z[1:]), model.decode(z, torch.tensor([0.0, 1.0], dtype=torch.float64)), rtol=0, atol=0
    )
