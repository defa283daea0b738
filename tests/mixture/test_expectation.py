"""Against scikit-learn's mixture, whose steps these are, and against the definition of the likelihood."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture

from pipeline.mixture.expectation import ExpectationMaximisation

K, D = 4, 3


@pytest.fixture
def latents() -> np.ndarray:
    """Slanted clouds, far from the origin, in more images than one block."""
    generator = np.random.default_rng(0)
    centres, slants = generator.normal(0, 3, (K, D)), generator.normal(0, 1, (K, D, D))
    which = generator.integers(K, size=5000)
    noise = generator.normal(size=(len(which), D))
    return 100 + centres[which] + np.einsum("nij,nj->ni", slants[which], noise)


def started(latents: np.ndarray, labels: np.ndarray, covariance: str, max_iter: int) -> Any:
    """Scikit-learn's mixture, from the same start."""

    class FromLabels(GaussianMixture):
        def _initialize_parameters(self, X: Any, random_state: Any, xp: Any = None) -> None:
            self._initialize(X, np.eye(K)[labels])

    kind = "diag" if covariance == "diagonal" else "full"
    return FromLabels(K, covariance_type=kind, reg_covar=1e-3, max_iter=max_iter, tol=1e-3)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("covariance", ["diagonal", "full"])
@pytest.mark.parametrize("max_iter", [1, 2, 200])
def test_every_step_is_scikit_learns(latents: np.ndarray, covariance: Any, max_iter: int) -> None:
    labels = np.random.default_rng(1).integers(K, size=len(latents))  # a bad start, so that there are many steps
    theirs = started(latents, labels, covariance, max_iter).fit(latents)
    fit = ExpectationMaximisation(torch.from_numpy(latents), covariance, 1e-3)
    ours = fit.run(torch.from_numpy(labels), K, max_iter)
    found = ours.components
    covariances = theirs.covariances_
    if covariance == "diagonal":
        covariances = np.stack([np.diag(row) for row in covariances])
    np.testing.assert_allclose(found.weights, theirs.weights_, rtol=1e-8)
    np.testing.assert_allclose(found.means, theirs.means_, rtol=1e-8)
    np.testing.assert_allclose(found.covariances, covariances, rtol=1e-7, atol=1e-9)
    assert ours.bound == pytest.approx(theirs.lower_bound_, rel=1e-10)
    assert ours.converged == theirs.converged_ == (max_iter == 200)
    assert theirs.n_iter_ > 10 or max_iter < 200


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_the_bound_is_the_likelihood_of_the_components_before(latents: np.ndarray, covariance: Any) -> None:
    labels = torch.arange(len(latents)) % K
    fit = ExpectationMaximisation(torch.from_numpy(latents), covariance, 1e-3)
    before, after = (fit.run(labels, K, max_iter) for max_iter in (2, 3))
    found = before.components
    parts = zip(found.weights.numpy(), found.means.numpy(), found.covariances.numpy(), strict=True)
    log_joint = [np.log(weight) + multivariate_normal(mean, matrix).logpdf(latents) for weight, mean, matrix in parts]
    assert after.bound == pytest.approx(logsumexp(log_joint, axis=0).mean(), rel=1e-10)
    assert after.bound > before.bound


def test_a_component_without_an_image_keeps_a_weight_and_a_variance(latents: np.ndarray) -> None:
    fit = ExpectationMaximisation(torch.from_numpy(latents), "full", 1e-3)
    found = fit.run(torch.zeros(len(latents), dtype=torch.long), 2, 5).components
    assert (found.weights > 0).all()
    assert torch.isfinite(found.means).all()
    torch.testing.assert_close(found.weights.sum(), torch.tensor(1.0, dtype=torch.float64))
    assert (torch.linalg.eigvalsh(found.covariances) > 0).all()
