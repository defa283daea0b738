import pytest
import torch
from torch import nn
from torch.nn import functional

from pipeline.model import dense
from pipeline.model.activation import activate_
from pipeline.model.convolution import (
    BatchNorm,
    Convolution,
    channels_last,
    concatenate_channels,
    fold_seeds,
    unfold_seeds,
)
from pipeline.model.dense import Dense

_G = torch.Generator().manual_seed(0)
# kernel, stride, padding, output padding: every combination that the ladders use
KERNELS = [(4, 2, 1, None), (3, 1, 1, None), (4, 1, 1, None), (4, 2, 1, (0, 0)), (4, 2, 1, (1, 0)), (3, 1, 1, (0, 0))]


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=_G)


def randomise(layer):
    with torch.no_grad():
        for value in layer.parameters():
            value.copy_(draw(*value.shape))
    return layer


@pytest.mark.parametrize("activation", [None, "relu", "elu"])
@pytest.mark.parametrize("n_seeds", [1, 3])
def test_dense_layer_against_finite_differences(n_seeds, activation):
    x, weight, bias = draw(n_seeds, 4, 3), draw(n_seeds, 2, 3), draw(n_seeds, 2)
    inputs = [value.requires_grad_() for value in (x, weight, bias)]
    assert torch.autograd.gradcheck(lambda *given: dense._DenseLayer.apply(*given, activation), inputs)


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_dense_against_torch_in_value_and_gradient(n_seeds):
    layer, x = randomise(Dense(n_seeds, 3, 5).double()), draw(n_seeds, 4, 3).requires_grad_()
    weight_of_output = draw(n_seeds, 4, 5)
    (layer(x) * weight_of_output).sum().backward()
    for s in range(n_seeds):
        plain = nn.Linear(3, 5, dtype=torch.float64)
        plain.load_state_dict({"weight": layer.weight[s].detach(), "bias": layer.bias[s].detach()})
        alone = x[s].detach().requires_grad_()
        (plain(alone) * weight_of_output[s]).sum().backward()
        torch.testing.assert_close(layer(x)[s], plain(alone), rtol=1e-12, atol=1e-12)
        assert x.grad is not None
        assert alone.grad is not None
        torch.testing.assert_close(x.grad[s], alone.grad, rtol=1e-12, atol=1e-12)
        for name in ("weight", "bias"):
            mine, theirs = getattr(layer, name).grad[s], getattr(plain, name).grad
            torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


def test_dense_needs_no_gradient_of_pixels():
    layer = randomise(Dense(1, 3, 5).double())
    layer(draw(1, 4, 3)).sum().backward()
    torch.testing.assert_close(layer.bias.grad, torch.full((1, 5), 4.0, dtype=torch.float64))


@pytest.mark.parametrize("n_seeds", [1, 2])
@pytest.mark.parametrize("kind", [lambda s: Dense(s, 3, 5), lambda s: Convolution(s, 3, 5, 3, 1, padding=1)])
def test_bfloat16_products_give_single_precision_gradients(kind, n_seeds):
    """Output and input gradients in the products' precision, parameter gradients in the parameters' own."""
    layer = randomise(kind(n_seeds))
    space = () if isinstance(layer, Dense) else (4, 4)
    x = draw(n_seeds, 4, 3, *space).bfloat16().requires_grad_()
    y = layer(x)
    y.float().square().sum().backward()
    assert y.dtype == torch.bfloat16
    assert x.grad is not None
    assert x.grad.dtype == torch.bfloat16
    for parameter in layer.parameters():
        assert parameter.grad is not None
        assert parameter.grad.dtype == torch.float32
        assert parameter.grad.shape == parameter.shape


@pytest.mark.parametrize("activation", ["relu", "elu"])
@pytest.mark.parametrize("n_seeds", [1, 3])
def test_activation_in_place_keeps_the_gradient(activation, n_seeds):
    """The activation overwrites the product's output; its gradient must be that of the plain one."""
    layer, x = randomise(Dense(n_seeds, 3, 5).double()), draw(n_seeds, 4, 3).requires_grad_()
    activate_(layer(x), activation).square().sum().backward()
    ours = layer.weight.grad
    plain = torch.einsum("sbi,soi->sbo", x, layer.weight) + layer.bias[:, None]
    (theirs,) = torch.autograd.grad(getattr(functional, activation)(plain).square().sum(), layer.weight)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("layout", [lambda x: x, channels_last], ids=["planes", "pixels"])
@pytest.mark.parametrize("n_seeds", [1, 3])
@pytest.mark.parametrize(("kernel", "stride", "padding", "output_padding"), KERNELS)
def test_convolution_against_torch(n_seeds, kernel, stride, padding, output_padding, layout):
    layer = randomise(Convolution(n_seeds, 2, 3, kernel, stride, padding, output_padding).double())
    x = draw(n_seeds, 4, 2, 6, 5).requires_grad_()
    y = layer(layout(x))
    y.square().sum().backward()
    for s in range(n_seeds):
        if output_padding is None:
            plain = nn.Conv2d(2, 3, kernel, stride, padding, dtype=torch.float64)
        else:
            plain = nn.ConvTranspose2d(2, 3, kernel, stride, padding, output_padding, dtype=torch.float64)
        plain.load_state_dict({"weight": layer.weight[s].detach(), "bias": layer.bias[s].detach()})
        own = x[s].detach().requires_grad_()
        expected = plain(own)
        expected.square().sum().backward()
        torch.testing.assert_close(y[s], expected, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(x.grad[s], own.grad, rtol=1e-10, atol=1e-10)
        for name in ("weight", "bias"):
            mine, theirs = getattr(layer, name).grad[s], getattr(plain, name).grad
            torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


def test_one_seeds_images_stay_pixel_by_pixel_and_its_layer_asks_for_no_gradient_of_pixels():
    layer = randomise(Convolution(1, 2, 3, 3, 1, padding=1))
    x = channels_last(draw(1, 4, 2, 6, 5).float())
    y = nn.functional.elu_(layer(x))
    assert y[0].is_contiguous(memory_format=torch.channels_last)
    y.sum().backward()
    assert x.grad is None


@pytest.mark.parametrize("n_seeds", [1, 2])
def test_concatenated_channels(n_seeds):
    one, other = (channels_last(draw(n_seeds, 4, n, 3, 2)).requires_grad_() for n in (2, 3))
    y = concatenate_channels(one, other)
    torch.testing.assert_close(y, torch.cat([one, other], 2), rtol=0, atol=0)
    (y * torch.arange(5.0)[:, None, None]).sum().backward()
    assert torch.equal(torch.cat([one.grad, other.grad], 2)[0, 0, :, 0, 0], torch.arange(5.0, dtype=torch.float64))
    assert one.grad.stride() == one.stride()


@pytest.mark.parametrize("space", [(), (3, 2)])
@pytest.mark.parametrize("n_seeds", [1, 2])
def test_batch_norm_against_torch(n_seeds, space):
    """Training statistics, running statistics and evaluation, seed by seed, with and without space."""
    norm = randomise(BatchNorm(n_seeds, 5).double())
    batches = [draw(n_seeds, 6, 5, *space) for _ in range(3)]
    for s in range(n_seeds):
        plain = (nn.BatchNorm2d if space else nn.BatchNorm1d)(5, dtype=torch.float64)
        fresh = BatchNorm(n_seeds, 5).double()
        fresh.load_state_dict({**fresh.state_dict(), "weight": norm.weight.detach(), "bias": norm.bias.detach()})
        with torch.no_grad():
            plain.weight.copy_(norm.weight[s])
            plain.bias.copy_(norm.bias[s])
        for batch in batches[:2]:
            torch.testing.assert_close(fresh(batch)[s], plain(batch[s]), rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(fresh.running_mean[s], plain.running_mean, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(fresh.running_var[s], plain.running_var, rtol=1e-10, atol=1e-12)
        fresh.eval()
        plain.eval()
        torch.testing.assert_close(fresh(batches[2])[s], plain(batches[2][s]), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_unfold_undoes_fold(n_seeds):
    x = draw(n_seeds, 4, 2, 3, 3)
    torch.testing.assert_close(unfold_seeds(fold_seeds(x), n_seeds), x, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("layer", "fan_in"),
    [(Dense(1, 6, 5), 6), (Convolution(1, 2, 3, 4, 2, 1), 32), (Convolution(1, 2, 3, 4, 2, 1, (0, 0)), 32)],
)
def test_fan_in(layer, fan_in):
    assert layer.fan_in == fan_in
