from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import special

from pipeline.core.errors import ModelError
from pipeline.datasets.store.spec import InputSpec
from pipeline.model.likelihoods.base import make_likelihood
from tests import oracles
from tests.model.builders import SHAPE, SPEC, TINY

RAW = 2.0 * torch.randn(3, 4, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
X = torch.rand(3, 4, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
MEANS = {"sigmoid": special.expit, "linear": lambda raw: raw}


def gaussian(output):
    return make_likelihood(replace(TINY, likelihood="gaussian", sigma=0.3, output=output), SPEC)


def test_bernoulli_density_of_grey_values():
    log_px = make_likelihood(TINY, SPEC).log_prob(RAW, X)
    np.testing.assert_allclose(log_px, oracles.log_bernoulli(RAW.numpy(), X.numpy()), rtol=1e-8)


@pytest.mark.parametrize("output", ["sigmoid", "linear"])
def test_gaussian_density(output):
    expected = oracles.log_gaussian(MEANS[output](RAW.numpy()), X.numpy(), 0.3)
    np.testing.assert_allclose(gaussian(output).log_prob(RAW, X), expected, rtol=1e-8)


def test_mean_images():
    np.testing.assert_allclose(make_likelihood(TINY, SPEC).mean(RAW), special.expit(RAW.numpy()), rtol=1e-8)
    np.testing.assert_allclose(gaussian("sigmoid").mean(RAW), special.expit(RAW.numpy()), rtol=1e-8)
    np.testing.assert_array_equal(gaussian("linear").mean(RAW), RAW)


@pytest.mark.parametrize("likelihood", [make_likelihood(TINY, SPEC), gaussian("sigmoid"), gaussian("linear")])
def test_products_in_bfloat16_leave_the_density_in_single_precision(likelihood):
    low = RAW.bfloat16()
    assert likelihood.log_prob(low, X.float()).dtype == torch.float32
    torch.testing.assert_close(likelihood.log_prob(low, X.float()), likelihood.log_prob(low.float(), X.float()))


def test_logits_of_a_million_stay_finite():
    extreme = torch.tensor([[1e6, -1e6]], dtype=torch.float64)
    assert make_likelihood(TINY, SPEC).log_prob(extreme, torch.tensor([[0.0, 1.0]], dtype=torch.float64)).item() == -2e6


@pytest.mark.parametrize("n_pixels", [1, 7, 64, 784])
def test_bernoulli_value_and_gradient_against_torch(n_pixels):
    generator = torch.Generator().manual_seed(2)
    raw = (5.0 * torch.randn(2, 3, n_pixels, dtype=torch.float64, generator=generator)).requires_grad_()
    x = torch.rand(2, 3, n_pixels, dtype=torch.float64, generator=generator)
    upstream = torch.linspace(-1, 2, 6, dtype=torch.float64).reshape(2, 3)
    ours = make_likelihood(TINY, SPEC).log_prob(raw, x)
    theirs = torch.distributions.Bernoulli(logits=raw, validate_args=False).log_prob(x).sum(-1)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    mine, other = (torch.autograd.grad((value * upstream).sum(), raw)[0] for value in (ours, theirs))
    torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-12)


def test_bernoulli_gradient_against_finite_differences():
    assert torch.autograd.gradcheck(make_likelihood(TINY, SPEC).log_prob, (RAW.clone().requires_grad_(), X))


def test_bernoulli_gradient_comes_in_the_precision_of_the_raw_output():
    low, x = RAW.bfloat16().requires_grad_(), X.float()
    make_likelihood(TINY, SPEC).log_prob(low, x).sum().backward()
    assert low.grad is not None
    assert low.grad.dtype == torch.bfloat16
    assert torch.equal(low.grad, (x - low.detach().float().sigmoid()).bfloat16())


@pytest.mark.parametrize("scale", [0.0, 1.0, 20.0, 1e4])
def test_bernoulli_sums_in_single_precision_are_as_exact_as_torchs_own(scale):
    """Logits around 0 make every factor of the products ½, large ones 1."""
    generator = torch.Generator().manual_seed(3)
    raw, x = scale * torch.randn(4, 784, generator=generator), torch.rand(4, 784, generator=generator).round(decimals=1)
    exact = oracles.log_bernoulli(raw.double().numpy(), x.double().numpy())
    np.testing.assert_allclose(make_likelihood(TINY, SPEC).log_prob(raw, x), exact, rtol=1e-6)


def test_features_without_bounds_are_decoded_without_and_need_a_likelihood_that_knows_none():
    spec = InputSpec("features", "float32", SHAPE, is_bounded=False)
    linear = make_likelihood(replace(TINY, likelihood="gaussian", output="linear"), spec)
    assert torch.equal(linear.mean(10 * RAW), 10 * RAW)
    for refused in (TINY, replace(TINY, likelihood="gaussian", output="sigmoid")):
        with pytest.raises(ModelError, match=r"needs inputs in \[0, 1\], got float32 features 1×3×4 without bounds"):
            make_likelihood(refused, spec)
