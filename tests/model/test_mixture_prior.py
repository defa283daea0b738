from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.model import DiagonalNormal
from pipeline.model.mixture_prior import MixturePrior
from tests import oracles
from tests.model.builders import TINY, randomise_prior

_G = torch.Generator().manual_seed(0)
Z = 0.5 * torch.randn(2, 6, 3, dtype=torch.float64, generator=_G)
QZ = DiagonalNormal(Z, torch.randn(2, 6, 3, dtype=torch.float64, generator=_G) - 2.0)


@pytest.fixture(params=["diagonal", "full"])
def prior(request):
    """Facet 1 of the tiny model, two seeds, everything random."""
    prior = MixturePrior(2, replace(TINY, covariance=(request.param,) * 2), 1, 0.1).double()
    return randomise_prior(prior, torch.Generator().manual_seed(1)).requires_grad_(False)


def parts(prior, seed):
    return (
        np.exp(prior.mixing_logits[seed].numpy()) / np.exp(prior.mixing_logits[seed].numpy()).sum(),
        prior.means[seed].numpy(),
        prior.covariance.matrices()[seed].numpy(),
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_densities_and_responsibilities(prior, seed):
    weights, means, covariances = parts(prior, seed)
    z = Z[seed].numpy()
    given = oracles.log_normals(z, means, covariances)
    np.testing.assert_allclose(prior.log_prob_given_component(Z)[seed], given, rtol=1e-8)
    np.testing.assert_allclose(prior.log_joint(Z)[seed], given + np.log(weights), rtol=1e-8)
    np.testing.assert_allclose(prior.log_prob(Z)[seed], oracles.log_mixture(z, *parts(prior, seed)), rtol=1e-8)
    # Next to 0, a logarithm keeps the rounding of the probability next to 1.
    expected = oracles.log_resp(z, *parts(prior, seed))
    np.testing.assert_allclose(prior.log_resp(Z)[seed], expected, rtol=1e-8, atol=1e-14)


def test_exact_component_posterior_is_the_expectation_over_the_latent(prior):
    """Closed form of eq. 12 against 10⁵ samples, within five standard errors of every log-odds."""
    rng = np.random.default_rng(0)
    exact = prior.exact_log_resp(QZ)
    for image in range(2):
        mean, variance = QZ.mean[0, image].numpy(), QZ.variance[0, image].numpy()
        estimate, error = oracles.component_posterior_by_sampling(mean, variance, *parts(prior, 0), 100_000, rng)
        log_odds = exact[0, image, 1:] - exact[0, image, :1]
        assert (error[1:] > 0).all()
        np.testing.assert_array_less(np.abs(log_odds.numpy() - (estimate[1:] - estimate[0])), 5 * error[1:])


def test_exact_posterior_differs_from_the_responsibilities_at_the_mean(prior):
    assert (prior.exact_log_resp(QZ) - prior.log_resp(QZ.mean)).abs().max() > 0.1


def test_responsibilities_lie_on_the_simplex_far_outside_the_mixture(prior):
    for z in (Z, 1e4 * Z):
        for log_resp in (prior.log_resp(z), prior.exact_log_resp(DiagonalNormal(z, QZ.log_variance))):
            assert (log_resp <= 0).all()
            torch.testing.assert_close(log_resp.exp().sum(-1), torch.ones(2, 6, dtype=torch.float64))


def test_relabelled_components_permute_responsibilities_and_nothing_else(prior):
    order = torch.tensor([2, 0, 1])
    before = (prior.log_resp(Z), prior.exact_log_resp(QZ), prior.log_prob(Z))
    for parameter in prior.parameters():
        parameter.copy_(parameter[:, order].clone())
    torch.testing.assert_close(prior.log_resp(Z), before[0][..., order], rtol=1e-12, atol=0)
    torch.testing.assert_close(prior.exact_log_resp(QZ), before[1][..., order], rtol=1e-12, atol=0)
    torch.testing.assert_close(prior.log_prob(Z), before[2], rtol=1e-12, atol=0)


def test_fixed_weights_are_uniform_and_receive_no_gradient():
    prior = MixturePrior(1, replace(TINY, mixing_weights="fixed"), 0, 0.1).double()
    prior.log_prob(Z[:1, :, :2]).sum().backward()
    np.testing.assert_allclose(prior.log_mixing_weights, np.full((1, 4), -np.log(4)))
    assert prior.mixing_logits.grad is None
    assert prior.means.grad is not None


def test_one_component_takes_every_image():
    params = replace(TINY, n_components=(1, 1))
    prior = MixturePrior(1, params, 1, 0.1).double().requires_grad_(False)
    torch.testing.assert_close(prior.log_resp(Z[:1]), torch.zeros(1, 6, 1, dtype=torch.float64))
