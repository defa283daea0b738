"""The whole model: terms against enumeration, the seed axis, invariances, a bound that is one."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import special, stats

from pipeline.model import MultiFacetVae
from pipeline.training.objective import bound, bound_of_model
from pipeline.training.replicas import Replicas
from pipeline.views import View
from tests import oracles
from tests.model.builders import (
    FAMILIES,
    SHAPE,
    SPEC,
    TINY,
    gradients,
    loss,
    ones,
    random_images,
    random_model,
    random_noise,
    solo,
    with_facets,
)


@pytest.mark.parametrize("covariance", [("diagonal", "diagonal"), ("full", "full"), ("diagonal", "full")])
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("n_samples", [1, 3])
def test_five_terms_of_every_image(likelihood, covariance, n_samples):
    params = replace(TINY, likelihood=likelihood, covariance=covariance)
    model, x, noise = random_model(params, 2), random_images(n_seeds=2), random_noise(n_seeds=2, n_samples=n_samples)
    with torch.no_grad():
        terms = model.terms(x, noise, ones())
        log_px, kls = bound_of_model(model, x, noise, ones())
        posteriors = model.encode(x)
        raw = [
            model.decode([qz.sample(e[s]) for qz, e in zip(posteriors, noise, strict=True)]) for s in range(n_samples)
        ]
    pixels = x.flatten(2).numpy()
    density = (
        oracles.log_bernoulli
        if likelihood == "bernoulli"
        else (lambda r, v: oracles.log_gaussian(special.expit(r), v, params.sigma))
    )
    expected = np.mean([density(r.numpy(), pixels) for r in raw], axis=0)
    np.testing.assert_allclose(terms.log_px, expected, rtol=1e-8)
    np.testing.assert_allclose(log_px, expected, rtol=1e-8)
    for j, qz in enumerate(posteriors):
        prior = model.prior(j)
        for seed in range(2):
            mixture = prior.mixing_logits[seed].softmax(-1), prior.means[seed], prior.covariance.matrices()[seed]
            log_pz, log_pc, log_qz, log_qc = oracles.facet_terms(
                qz.mean[seed].numpy(),
                qz.log_variance[seed].numpy(),
                noise[j][:, seed].numpy(),
                *(part.detach().numpy() for part in mixture),
            )
            np.testing.assert_allclose(terms.kl_z[j][seed], log_qz - log_pz, rtol=1e-8)
            np.testing.assert_allclose(terms.kl_c[j][seed], log_qc - log_pc, rtol=1e-8, atol=1e-12)
            np.testing.assert_allclose(kls[j][seed], log_qz - log_pz + log_qc - log_pc, rtol=1e-8)
    torch.testing.assert_close(terms.elbo, log_px - torch.stack(kls).sum(0), rtol=1e-8, atol=0)


def toy():
    """One pixel pair and two latents of one dimension, so that the evidence is an integral over a grid."""
    params = replace(TINY, hidden=((4,), (4,)), latent_dims=(1, 1), n_components=(3, 2))
    return random_model(params, shape=(1, 1, 2), seed=5), torch.tensor(
        [[[[0.9, 0.2]]], [[[0.0, 1.0]]]], dtype=torch.float64
    )


def log_evidence(model, x):
    """Log ∫∫ p(x | z_0, z_1) p(z_0) p(z_1) by the trapezoidal rule."""
    grid = np.linspace(-6.0, 6.0, 401)
    z = np.meshgrid(grid, grid, indexing="ij")
    with torch.no_grad():
        logits = model.decode([torch.from_numpy(part.reshape(1, -1, 1)) for part in z])[0].numpy()
    log_prior = []
    for j in range(2):
        prior = model.prior(j)
        mixture = (prior.mixing_logits[0].softmax(-1), prior.means[0], prior.covariance.matrices()[0])
        log_prior.append(oracles.log_mixture(grid[:, None], *(part.detach().numpy() for part in mixture)))
    joint = (log_prior[0][:, None] + log_prior[1][None]).reshape(-1)
    cell = 2 * np.log(grid[1] - grid[0])
    return np.array(
        [special.logsumexp(oracles.log_bernoulli(logits, one.numpy()) + joint) + cell for one in x.flatten(1)]
    )


def test_mean_bound_is_at_most_the_log_evidence():
    """One sample may exceed the evidence, the mean may not; its exponential is the evidence on average (L = 1)."""
    model, x = toy()
    evidence = log_evidence(model, x)
    n = 40_000
    noise = random_noise(model.params, n=n)
    for i in range(len(x)):
        with torch.no_grad():
            elbo = model.terms(x[i].expand(1, n, 1, 1, 2), noise, ones()).elbo[0].numpy()
        error = stats.sem(elbo)
        assert elbo.max() > evidence[i]
        assert elbo.mean() + 5 * error < evidence[i]
        weights = np.exp(elbo - evidence[i])
        assert abs(weights.mean() - 1) < 5 * stats.sem(weights)
        assert stats.sem(weights) < 0.05


@pytest.mark.parametrize("ignored", [{"invert": 50.0}, {"mirrored": 100.0}, {"brightness": 80.0, "noise": 40.0}])
def test_with_the_posterior_of_a_view_the_bound_is_still_one(ignored):
    """However little the view has of the image: one sample's exponential is the evidence on average."""
    model, x = toy()
    evidence, view = log_evidence(model, x), View(ignored)
    n = 40_000
    noise = random_noise(model.params, n=n)
    numbers = torch.rand(n, view.n_numbers, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    replicas = Replicas(model, torch.float64, None)
    for i in range(len(x)):
        images = x[i].expand(1, n, 1, 1, 2)
        with torch.no_grad():
            own = [model.encode(images)[0], model.encode(view(images[0], numbers)[None])[1]]
            log_px, kls = bound(replicas, images, replicas.start(lambda _: own), noise, ones(), torch.float64)  # noqa: B023
        elbo = (log_px - torch.stack(kls).sum(0))[0].numpy()
        assert elbo.mean() + 5 * stats.sem(elbo) < evidence[i]
        weights = np.exp(elbo - evidence[i])
        assert abs(weights.mean() - 1) < 5 * stats.sem(weights)
        assert stats.sem(weights) < 0.05


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("n_samples", [1, 2])
def test_a_member_of_the_seed_axis_equals_its_solo_run(family, n_samples):
    params = FAMILIES[family]
    n, shape = 6, None
    model = random_model(params, 3).train()
    x, noise = random_images(params, n, 3, shape=shape), random_noise(params, n, 3, n_samples)
    fade_in = torch.tensor([0.4, 1.0], dtype=torch.float64)
    loss(model, x, noise, fade_in).backward()
    together = gradients(model)
    log_px, kls = bound_of_model(model, x, noise, fade_in)
    for s in range(3):
        alone = solo(random_model(params, 3).train(), s)
        mine = x[s : s + 1], [e[:, s : s + 1] for e in noise], fade_in
        loss(alone, *mine).backward()
        for name, gradient in gradients(alone).items():
            torch.testing.assert_close(together[name][s : s + 1], gradient, rtol=1e-8, atol=1e-11, msg=name)
        assert len(gradients(alone)) == len(together)
        solo_px, solo_kls = bound_of_model(alone, *mine)
        torch.testing.assert_close(log_px[s], solo_px[0], rtol=1e-8, atol=0)
        for kl, solo_kl in zip(kls, solo_kls, strict=True):
            torch.testing.assert_close(kl[s], solo_kl[0], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("n_facets", [1, 2, 3, 5])
def test_any_number_of_facets_from_one_to_all_of_them_active(family, n_facets):
    params = with_facets(n_facets, FAMILIES[family])
    model, x, noise = random_model(params), random_images(params), random_noise(params)
    for first in range(n_facets):
        log_px, kls = bound_of_model(model, x, noise[first:], ones(params))
        assert len(kls) == n_facets - first
        assert all(torch.isfinite(part).all() for part in (log_px, *kls))


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_relabelled_components_change_nothing_but_their_order(covariance):
    params = replace(TINY, covariance=(covariance,) * 2)
    model, x, noise = random_model(params), random_images(), random_noise()
    loss(model, x, noise).backward()
    before, expected = model.terms(x, noise, ones()), gradients(model)
    order = torch.tensor([3, 0, 2, 1])
    permuted = random_model(params)
    with torch.no_grad():
        for parameter in permuted.prior(0).parameters():
            parameter.copy_(parameter[:, order].clone())
    loss(permuted, x, noise).backward()
    torch.testing.assert_close(permuted.terms(x, noise, ones()).elbo, before.elbo, rtol=1e-12, atol=0)
    for name, gradient in gradients(permuted).items():
        same = expected[name][:, order] if name.startswith("priors.0.") else expected[name]
        torch.testing.assert_close(gradient, same, rtol=1e-9, atol=1e-11, msg=name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_loss_and_gradients_stay_finite_for_heads_of_ten_thousand(family, dtype, size):
    """The log-variance is bounded, so neither exp() nor its gradient overflows."""
    params = FAMILIES[family]
    model = random_model(params, dtype=dtype)
    with torch.no_grad():
        for head in model.network.heads:
            head.bias.fill_(size)
    noise = random_noise(params, dtype=dtype)
    value = loss(model, random_images(params, dtype=dtype), noise, ones(params).to(dtype))
    value.backward()
    assert torch.isfinite(value)
    assert all(torch.isfinite(gradient).all() for gradient in gradients(model).values())


def test_pixels_of_ten_thousand_give_finite_gradients():
    """Also where an input is far outside its range."""
    model = random_model(dtype=torch.float32)
    x = torch.full((1, 5, *SHAPE), 1e4)
    value = loss(model, x, random_noise(dtype=torch.float32), torch.ones(2))
    value.backward()
    assert torch.isfinite(value)
    assert all(torch.isfinite(gradient).all() for gradient in gradients(model).values())


def test_products_in_bfloat16_keep_the_densities_in_single_precision():
    model, x = random_model(dtype=torch.float32), random_images(dtype=torch.float32)
    noise = random_noise(dtype=torch.float32)
    low_px, low_kls = bound_of_model(model, x, noise, torch.ones(2), torch.bfloat16)
    log_px, kls = bound_of_model(model, x, noise, torch.ones(2))
    assert {part.dtype for part in (low_px, *low_kls)} == {torch.float32}
    torch.testing.assert_close(low_px, log_px, rtol=0.05, atol=0)
    torch.testing.assert_close(torch.stack(low_kls), torch.stack(kls), rtol=0.1, atol=0.5)


def test_mixtures_trained_are_those_with_weights_to_learn():
    names = {id(p): n for n, p in random_model().named_parameters()}
    learned = random_model().mixture_parameters()
    fixed = MultiFacetVae(replace(TINY, mixing_weights="fixed"), SPEC).mixture_parameters()
    assert (len(names), len(learned), len(fixed)) == (24, 6, 4)
