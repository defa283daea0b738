import numpy as np
import torch
from scipy import stats

from pipeline.model import DiagonalNormal
from pipeline.model.posterior import bounded_posterior

_G = torch.Generator().manual_seed(0)
MEAN, LOG_VARIANCE, NOISE = (torch.randn(2, 5, 3, dtype=torch.float64, generator=_G) for _ in range(3))


def test_a_sample_is_the_noise_moved_and_scaled():
    z = DiagonalNormal(MEAN, LOG_VARIANCE).sample(NOISE)
    np.testing.assert_allclose(z, MEAN.numpy() + np.exp(LOG_VARIANCE.numpy() / 2) * NOISE.numpy(), rtol=1e-8)


def test_density_of_the_sample_that_noise_gives():
    qz = DiagonalNormal(MEAN, LOG_VARIANCE)
    std = np.exp(LOG_VARIANCE.numpy() / 2)
    expected = stats.norm.logpdf(qz.sample(NOISE), MEAN, std).sum(-1)
    np.testing.assert_allclose(qz.log_prob_of_noise(NOISE), expected, rtol=1e-8)
    np.testing.assert_allclose(qz.variance, std**2, rtol=1e-8)


def test_a_head_gives_means_first_and_bounded_log_variances():
    raw = torch.tensor([[1.0, -2.0, 3.0, -4.0], [1e4, -1e4, 1e4, -1e4]], dtype=torch.float64)
    qz = bounded_posterior(raw)
    np.testing.assert_array_equal(qz.mean, [[1.0, -2.0], [1e4, -1e4]])
    np.testing.assert_array_equal(qz.log_variance, [[3.0, -4.0], [8.0, -14.0]])


def test_bfloat16_heads_become_single_precision():
    qz = bounded_posterior(torch.zeros(2, 4, dtype=torch.bfloat16))
    assert qz.mean.dtype == qz.log_variance.dtype == torch.float32
