from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from pipeline.model.covariance import DiagonalCovariance, FullCovariance, positive, raw_of_positive
from pipeline.model.mixture_prior import MixturePrior
from tests import oracles
from tests.model.builders import TINY, randomise_prior

_G = torch.Generator().manual_seed(0)
DIFFERENCE = torch.randn(2, 6, 3, 3, dtype=torch.float64, generator=_G)
VARIANCE = torch.rand(2, 6, 3, dtype=torch.float64, generator=_G)


def random_covariance(kind):
    params = replace(TINY, covariance=("full" if kind is FullCovariance else "diagonal",) * 2)
    return randomise_prior(MixturePrior(2, params, 1, 0.1).double(), torch.Generator().manual_seed(1)).covariance


def test_positive_is_the_softplus_with_floor_everywhere():
    raw = np.array([-50.0, -3.0, -0.1, 0.0, 0.1, 2.0, 25.0, 400.0])
    np.testing.assert_allclose(positive(torch.from_numpy(raw)), oracles.positive(raw), rtol=1e-12)


def test_positive_stays_finite_in_single_precision_with_its_gradient():
    """A component that no image needs any more drifts to variances of any size."""
    raw = torch.tensor([-1e4, 7.9, 8.1, 8.9, 30.0, 1e4], requires_grad=True)
    value = positive(raw)
    np.testing.assert_allclose(value.detach(), oracles.positive(raw.detach().double().numpy()), rtol=1e-6)
    value.sum().backward()
    np.testing.assert_allclose(raw.grad, [0.0, 1.0, 1.0, 1.0, 1.0, 1.0], rtol=1e-6)


@pytest.mark.parametrize("value", [2e-5, 0.01, 0.1, 1.0, 7.0])
def test_raw_of_positive_is_the_inverse(value):
    assert oracles.positive(raw_of_positive(value)) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("kind", [DiagonalCovariance, FullCovariance])
def test_start_is_spherical(kind):
    matrices = kind(2, 4, 3, 0.1).double().matrices().detach()
    np.testing.assert_allclose(matrices, np.broadcast_to(0.01 * np.eye(3), (2, 4, 3, 3)), rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("kind", [DiagonalCovariance, FullCovariance])
def test_everything_follows_from_the_matrices(kind):
    """Whitened lengths, determinants and traces against numpy's inverse and slogdet."""
    covariance = random_covariance(kind)
    with torch.no_grad():
        matrices = covariance.matrices().numpy()
        inverse = np.linalg.inv(matrices)
        d = DIFFERENCE.numpy()
        mahalanobis = np.einsum("sbci,scij,sbcj->sbc", d, inverse, d)
        np.testing.assert_allclose(covariance.whiten(DIFFERENCE).square().sum(-1), mahalanobis, rtol=1e-8)
        np.testing.assert_allclose(covariance.half_log_det(), 0.5 * np.linalg.slogdet(matrices)[1], rtol=1e-8)
        trace = np.einsum("scii,sbi->sbc", inverse, VARIANCE.numpy())
        np.testing.assert_allclose(covariance.trace_with(VARIANCE), trace, rtol=1e-8)


def test_full_matrices_are_correlated_and_built_from_the_lower_triangle():
    covariance = random_covariance(FullCovariance)
    raw = covariance.raw_scale_tril.detach().numpy()
    factor = np.tril(raw, -1) + np.eye(3) * oracles.positive(raw.diagonal(axis1=-2, axis2=-1))[..., None]
    np.testing.assert_allclose(covariance.matrices().detach(), factor @ factor.swapaxes(-1, -2), rtol=1e-8)


def test_whitening_is_the_product_with_the_inverse_factor():
    covariance = random_covariance(FullCovariance)
    with torch.no_grad():
        inverse = np.linalg.inv(np.linalg.cholesky(covariance.matrices().numpy()))
        expected = np.einsum("scij,sbcj->sbci", inverse, DIFFERENCE.numpy())
        np.testing.assert_allclose(covariance.whiten(DIFFERENCE), expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("kind", [DiagonalCovariance, FullCovariance])
def test_gradients_against_finite_differences(kind):
    covariance = random_covariance(kind)
    (raw,) = covariance.parameters()

    def everything(_):
        return covariance.whiten(DIFFERENCE), covariance.half_log_det(), covariance.trace_with(VARIANCE)

    assert gradcheck(everything, (raw,))


def test_full_with_a_diagonal_factor_is_the_diagonal_form():
    """Exactly the same densities and traces."""
    diagonal, full = random_covariance(DiagonalCovariance), FullCovariance(2, 3, 3, 0.1).double()
    with torch.no_grad():
        std = positive(diagonal.raw_variance).sqrt()
        full.raw_scale_tril.diagonal(dim1=-2, dim2=-1).copy_(torch.log(torch.expm1(10 * (std - 1e-5))) / 10)
        for name in ("matrices", "half_log_det"):
            torch.testing.assert_close(getattr(full, name)(), getattr(diagonal, name)(), rtol=1e-8, atol=1e-12)
        torch.testing.assert_close(full.whiten(DIFFERENCE), diagonal.whiten(DIFFERENCE), rtol=1e-8, atol=1e-12)
        torch.testing.assert_close(full.trace_with(VARIANCE), diagonal.trace_with(VARIANCE), rtol=1e-8, atol=0)
