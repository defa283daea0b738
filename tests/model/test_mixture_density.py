"""The mixture's density and its written gradient, against torch.distributions, finite differences and extremes."""

import pytest
import torch
from torch import distributions as td
from torch.autograd import gradcheck

from pipeline.model.covariance import DiagonalCovariance, positive
from pipeline.model.mixture_density import diagonal_log_mixture

SIZES = [(1, 6, 4, 3), (3, 5, 2, 2), (2, 4, 1, 3), (1, 5, 3, 1), (1, 1, 1, 1)]  # seed, batch, component, latent


def draw(n_seeds, n_images, n_components, n_latents, dtype=torch.float64):
    """Return z, means, variances and log-weights that ask for gradients."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(n_seeds, n_images, n_latents, dtype=torch.float64, generator=generator)
    means = torch.randn(n_seeds, n_components, n_latents, dtype=torch.float64, generator=generator)
    variance = 0.1 + torch.rand(n_seeds, n_components, n_latents, dtype=torch.float64, generator=generator)
    log_weights = torch.randn(n_seeds, n_components, dtype=torch.float64, generator=generator).log_softmax(-1)
    return [value.to(dtype).requires_grad_() for value in (z, means, variance, log_weights)]


def by_torch(z, means, variance, log_weights):
    columns = []
    for s in range(len(z)):
        components = td.Independent(td.Normal(means[s], variance[s].sqrt()), 1)
        columns.append(td.MixtureSameFamily(td.Categorical(logits=log_weights[s]), components).log_prob(z[s]))
    return torch.stack(columns)


@pytest.mark.parametrize("sizes", SIZES)
def test_value_and_gradient_against_torch(sizes):
    """Through the softmax of the weights, as torch's mixture normalises them anew."""
    z, means, variance, logits = inputs = draw(*sizes)
    upstream = torch.linspace(-1, 2, z.shape[0] * z.shape[1], dtype=torch.float64).reshape(z.shape[:2])
    ours = diagonal_log_mixture(z, means, variance, logits.log_softmax(-1))
    theirs = by_torch(*inputs)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    expected = torch.autograd.grad((theirs * upstream).sum(), inputs)
    for mine, other in zip(torch.autograd.grad((ours * upstream).sum(), inputs), expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("sizes", SIZES)
def test_gradient_against_finite_differences(sizes):
    assert gradcheck(diagonal_log_mixture, draw(*sizes))


@pytest.mark.parametrize("asking", range(4))
def test_gradient_of_one_input_alone(asking):
    inputs = draw(2, 4, 3, 2)
    expected = torch.autograd.grad(diagonal_log_mixture(*inputs).sum(), inputs)[asking]
    alone = [value.detach().requires_grad_(i == asking) for i, value in enumerate(inputs)]
    diagonal_log_mixture(*alone).sum().backward()
    assert torch.equal(alone[asking].grad, expected)
    assert all(value.grad is None for i, value in enumerate(alone) if i != asking)


def test_without_gradients_the_value_is_the_same():
    inputs = draw(2, 4, 3, 2)
    with torch.no_grad():
        assert torch.equal(diagonal_log_mixture(*inputs), diagonal_log_mixture(*inputs).detach())
        assert not diagonal_log_mixture(*inputs).requires_grad


@pytest.mark.parametrize("raw", [-1e4, -3.0, 7.9, 8.1, 30.0, 1e4])
def test_variances_of_any_size_keep_value_and_gradient_in_single_precision(raw):
    """At the floor a raw number has no gradient, far above, where the softplus is linear, that of the variance."""
    z, means, _, logits = draw(1, 5, 3, 2, torch.float32)
    covariance = DiagonalCovariance(1, 3, 2, 0.1)
    with torch.no_grad():
        covariance.raw_variance.fill_(raw)
    log_prob = covariance.log_mixture(z, means, logits.log_softmax(-1))
    parameters = [z, means, covariance.raw_variance, logits]
    found = torch.autograd.grad(log_prob.sum(), parameters)
    double = [value.detach().double().requires_grad_() for value in parameters]
    reference = by_torch(double[0], double[1], positive(double[2]), double[3])
    torch.testing.assert_close(log_prob.double(), reference, rtol=1e-5, atol=1e-5)
    for mine, other in zip(found, torch.autograd.grad(reference.sum(), double), strict=True):
        torch.testing.assert_close(mine.double(), other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("distance", [1e2, 1e5, 1e10])
def test_far_outliers_have_finite_gradients(distance):
    """The nearest component takes them whole: its mean pulls with the distance over its variance."""
    _, means, variance, _ = inputs = draw(1, 1, 3, 2, torch.float32)
    inputs[0] = z = torch.full((1, 1, 2), distance, requires_grad=True)
    log_prob = diagonal_log_mixture(*inputs)
    log_prob.sum().backward()
    assert log_prob.isfinite().all()
    assert all(value.grad.isfinite().all() for value in inputs)
    nearest = ((z - means).square() / variance).sum(-1).argmin()
    torch.testing.assert_close(z.grad[0, 0], ((means - z) / variance)[0, nearest], rtol=1e-5, atol=0)


def test_a_second_derivative_is_refused_rather_than_wrong():
    inputs = draw(1, 2, 2, 2)
    (first,) = torch.autograd.grad(diagonal_log_mixture(*inputs).square().sum(), inputs[0], create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        first.sum().backward()
