import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture

from pipeline.core.errors import ModelError
from pipeline.core.seeding import derive_seed, numpy_generator
from pipeline.mixture import refit as refit_module
from pipeline.mixture.fit import FitSettings, fit_mixture
from pipeline.mixture.refit import refit_mixtures
from pipeline.model import DiagonalNormal
from pipeline.model.checkpoint import seed_state
from pipeline.training.step import make_optimizer
from tests.model.builders import TINY
from tests.training.builders import TRAIN, started_model, uint8_images

IMAGES = uint8_images(60)


def latents(model, seed, facet, epoch):
    """Samples of q(z | x), as the refit draws them."""
    with torch.no_grad():
        qz: DiagonalNormal = model.encode((IMAGES.to(torch.float64) / 255)[None])[facet]
    generator = numpy_generator(seed, "train", "refit", epoch, facet)
    return qz.mean[0].numpy() + np.sqrt(qz.variance[0].numpy()) * generator.standard_normal(qz.mean.shape[1:])


def sklearn_mixture(z, n_components, covariance_type, seed, facet, epoch) -> Any:
    return GaussianMixture(
        n_components,
        covariance_type=covariance_type,
        reg_covar=1e-4 * z.var(0).mean(),
        n_init=10,
        random_state=derive_seed(seed, "train", "refit-starts", epoch, facet) % 2**32,
    ).fit(z)


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
@pytest.mark.parametrize("weights", ["learned", "fixed"])
def test_the_prior_becomes_scikit_learns_mixture_of_the_samples(covariance, weights):
    model = started_model(replace(TINY, covariance=(covariance,) * 2, mixing_weights=weights), (7,), torch.float64)
    waiting = {name: value.clone() for name, value in model.prior(0).state_dict().items()}
    z = latents(model, 7, 1, 4)
    refit_mixtures(model, (7,), IMAGES, first_facet=1, epoch=4)
    mixture = sklearn_mixture(z, 3, "diag" if covariance == "diagonal" else "full", 7, 1, 4)
    prior = model.prior(1)
    np.testing.assert_allclose(prior.means[0].detach(), mixture.means_, rtol=1e-8)
    expected = mixture.covariances_ if covariance == "full" else [np.diag(row) for row in mixture.covariances_]
    np.testing.assert_allclose(prior.covariance.matrices()[0].detach(), expected, rtol=1e-8, atol=1e-10)
    expected = mixture.weights_ if weights == "learned" else np.full(3, 1 / 3)
    if weights == "learned":
        np.testing.assert_allclose(prior.log_mixing_weights[0].detach().exp(), expected, rtol=1e-8)
    assert all(torch.equal(value, waiting[name]) for name, value in model.prior(0).state_dict().items())


def test_fits_side_by_side_give_what_they_give_one_after_another(monkeypatch):
    states = []
    for at_once in (1, 3):
        monkeypatch.setattr(refit_module, "fits_at_once", lambda at_once=at_once: at_once)
        model = started_model(TINY, (7, 8), torch.float64)
        refit_mixtures(model, (7, 8), IMAGES, first_facet=0, epoch=4)
        states.append(model.state_dict())
    before = started_model(TINY, (7, 8), torch.float64).state_dict()
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
    assert not torch.equal(before["priors.0.means"], states[0]["priors.0.means"])


def test_fixed_weights_stay():
    model = started_model(replace(TINY, mixing_weights="fixed"), (7,), torch.float64)
    before = model.prior(1).mixing_logits.clone()
    refit_mixtures(model, (7,), IMAGES, 0, 0)
    assert torch.equal(model.prior(1).mixing_logits, before)


def test_the_optimiser_forgets_the_mixtures_and_nothing_else():
    model = started_model(TINY, (0,))
    optimizer = make_optimizer(model, TRAIN)
    for rate in optimizer.rates:
        rate.fill_(1e-3)
    torch.cat([value.square().flatten() for value in model.parameters()]).sum().backward()
    optimizer.step()
    optimizer.forget(refit_mixtures(model, (0,), IMAGES, first_facet=1, epoch=0))
    for name, parameter in model.named_parameters():
        moments = optimizer.moments[parameter]
        assert (moments.n_steps == 0) == name.startswith("priors.1."), name
        assert (moments.square == 0).all() == name.startswith("priors.1."), name


def test_seeds_are_fitted_as_in_their_solo_runs_and_a_failed_one_is_left_alone():
    together, alone = started_model(TINY, (3, 8, 5), torch.float64), started_model(TINY, (8,), torch.float64)
    with torch.no_grad():
        together.network.heads[1].weight[2] = float("nan")
    before = together.prior(1).means[2].clone()
    for model, seeds in ((together, (3, 8, 5)), (alone, (8,))):
        refit_mixtures(model, seeds, IMAGES, 0, 1)
    for facet in range(2):
        torch.testing.assert_close(together.prior(facet).means[1], alone.prior(facet).means[0], rtol=1e-8, atol=1e-10)
    assert torch.equal(together.prior(1).means[2], before)


def test_a_seed_whose_fit_fails_keeps_its_mixture_and_the_others_get_theirs(monkeypatch, caplog):
    def fit(latents, n_components, settings, random_state, facet):
        if facet == 1 and random_state == derive_seed(8, "train", "refit-starts", 1, 1) % 2**32:
            raise ModelError("no fit")
        return fit_mixture(latents, n_components, settings, random_state, facet)

    monkeypatch.setattr(refit_module, "fit_mixture", fit)
    model = started_model(TINY, (3, 8))
    before = [seed_state(model, index) for index in range(2)]
    with caplog.at_level(logging.WARNING):
        refit_mixtures(model, (3, 8), IMAGES, 0, 1)
    assert "seed 8 keeps its mixture as it was trained: no fit" in caplog.text
    kept = [torch.equal(seed_state(model, i)["priors.1.means"], before[i]["priors.1.means"]) for i in range(2)]
    assert kept == [False, True]
    assert not torch.equal(seed_state(model, 1)["priors.0.means"], before[1]["priors.0.means"])


def test_an_empty_component_keeps_a_finite_logit():
    """Scikit-learn may leave a component without weight."""
    z = np.repeat([[0.0, 0.0], [1.0, 1.0]], 20, axis=0)
    fitted = fit_mixture(z, 4, FitSettings("full", 1e-6, 3, 50, 1), 0, 0)
    assert fitted.weights.sum() == pytest.approx(1.0)
    assert fitted.covariances.shape == (4, 2, 2)
    model = started_model(replace(TINY, latent_dims=(2, 2), n_components=(4, 4), covariance=("full", "full")), (0,))
    with torch.no_grad():
        for head in model.network.heads:
            head.weight.zero_()  # all images at one point
    refit_mixtures(model, (0,), IMAGES, 0, 0)
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
