from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float, Int
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from pipeline.config.sections import PretrainParams
from pipeline.core.errors import ModelError
from pipeline.core.seeding import derive_seed
from pipeline.mixture.fit import k_means, spectral_clusters
from pipeline.mixture.initial import encode_means, init_clusters, init_mixtures
from pipeline.model import MultiFacetVae
from tests.model.builders import CONVOLUTIONAL, SPEC, TINY
from tests.training.builders import INIT, started_model, uint8_images


def test_means_of_the_untrained_encoder_in_evaluation_mode():
    """Block by block; batch norm uses its running statistics, so blocks do not matter."""
    model = started_model(CONVOLUTIONAL, (0, 1)).train()
    images = uint8_images(20, CONVOLUTIONAL)
    means = encode_means(model, [images])
    assert not model.training
    expected = model.encode((images[7:8].float() / 255).expand(2, -1, -1, -1, -1))
    for mean, qz in zip(means, expected, strict=True):
        assert mean.shape[:2] == (2, 20)
        torch.testing.assert_close(mean[:, 7:8], qz.mean)


@pytest.mark.parametrize("facet", [0, 1])
def test_component_means_are_scikit_learns(facet):
    model, seeds = started_model(TINY, (4, 7)), (4, 7)
    before = [parameter.clone() for parameter in model.prior(facet).covariance.parameters()]
    means = encode_means(model, [uint8_images(60)])
    fits = init_mixtures(model, seeds, means, INIT)
    for index, seed in enumerate(seeds):
        latents = means[facet][index].double().numpy()
        state = derive_seed(seed, "init_mog", facet) % 2**32
        mixture: Any = GaussianMixture(
            TINY.n_components[facet], covariance_type="diag", max_iter=20, random_state=state
        )
        mixture.fit(latents)
        np.testing.assert_allclose(model.prior(facet).means[index].detach(), mixture.means_, rtol=1e-5)
        assert fits[index][facet].converged == mixture.converged_
        assert (fits[index][facet].facet, fits[index][facet].reg_covar) == (facet, INIT.reg_covar)
    # Only the means are taken: variances stay as built.
    for value, was in zip(model.prior(facet).covariance.parameters(), before, strict=True):
        assert torch.equal(value, was)


def test_weights_stay_uniform():
    model = MultiFacetVae(TINY, SPEC)
    latents = [torch.randn(1, 30, dim, generator=torch.Generator().manual_seed(0)) for dim in TINY.latent_dims]
    init_mixtures(model, [0], latents, INIT)
    torch.testing.assert_close(model.prior(0).log_mixing_weights.exp(), torch.full((1, 4), 0.25))
    torch.testing.assert_close(model.prior(0).covariance.matrices(), 0.01 * torch.eye(2).expand(1, 4, 2, 2))


FULL = replace(TINY, covariance=("full", "full"), latent_dims=(6, 6))
PRETRAINED = replace(INIT, reg_covar=1e-12, pretrain=PretrainParams(1, 1, 1, 1.0, 0.0))
"""Latents of pretrained networks are fitted with the model's own form of covariance."""


def collinear_latents(n=40):
    """Their covariance has no inverse, and rounding makes it indefinite."""
    x = 1e4 * torch.randn(1, n, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return [x / torch.arange(1, dim + 1) for dim in FULL.latent_dims]


def test_regularisation_is_raised_tenfold_for_collinear_latents():
    model = started_model(FULL, dtype=torch.float64)
    (fits,) = init_mixtures(model, [0], collinear_latents(), PRETRAINED)
    for fit in fits:
        steps = np.log10(fit.reg_covar / 1e-12)
        assert steps >= 1
        assert steps == pytest.approx(round(steps))


def test_constant_latents_need_nothing_more():
    latents = [torch.full((1, 40, dim), 1e3 + 1 / 3, dtype=torch.float64) for dim in TINY.latent_dims]
    model = started_model(dtype=torch.float64)
    (fits,) = init_mixtures(model, [0], latents, replace(INIT, reg_covar=1e-12))
    assert [fit.reg_covar for fit in fits] == [1e-12] * 2
    torch.testing.assert_close(model.prior(0).means.max().item(), 1e3 + 1 / 3)


def test_escalation_is_bounded():
    params = replace(PRETRAINED, max_escalations=1)
    with pytest.raises(
        ModelError, match=r"facet 0 must be fitted .* even with 1e-11 added to all variances; look for constant"
    ):
        init_mixtures(started_model(FULL, dtype=torch.float64), [0], collinear_latents(), params)


def test_more_components_than_images_are_refused():
    latents = [torch.zeros(1, 3, dim) for dim in TINY.latent_dims]
    with pytest.raises(ModelError, match=r"facet 0 needs .* got 3 images for 4 components; lower n_components\[0\]"):
        init_mixtures(started_model(), [0], latents, INIT)


def test_clusters_are_scikit_learns_with_one_covariance_and_one_weight():
    model = MultiFacetVae(TINY, SPEC, n_seeds=2)
    latents = [torch.randn(2, 90, dim, generator=torch.Generator().manual_seed(1)) for dim in TINY.latent_dims]
    init_clusters(model, [4, 7], latents, 0)
    for facet, n_components in enumerate(TINY.n_components):
        for index, seed in enumerate((4, 7)):
            state, own = derive_seed(seed, "init_mog", facet) % 2**32, latents[facet][index].double().numpy()
            expected: Any = KMeans(n_components, n_init=50, random_state=np.random.RandomState(state)).fit(own)  # pyright: ignore[reportArgumentType]
            means = model.prior(facet).means[index].detach()
            np.testing.assert_allclose(means, expected.cluster_centers_, rtol=1e-5)
            # The variance of posteriors of log-variance 0 besides that of their means.
            within = np.diag((own - expected.cluster_centers_[expected.labels_]).var(0) + 1)
            covariances = model.prior(facet).covariance.matrices()[index].detach()
            np.testing.assert_allclose(covariances, np.broadcast_to(within, covariances.shape), rtol=1e-4)
        torch.testing.assert_close(
            model.prior(facet).mixing_logits, torch.full((2, n_components), -np.log(n_components))
        )


def rings(n: int) -> tuple[Float[np.ndarray, "image latent"], Int[np.ndarray, " image"]]:
    """Return points of two rings, one around the other, in turns; and which of them each is of."""
    angle, ring = np.arange(n) * 2 * np.pi / n, np.arange(n) % 2
    radius = 1 + 2 * ring + np.random.default_rng(0).normal(0, 0.05, n)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1), ring


def test_neighbours_find_clusters_that_are_bent_and_k_means_does_not():
    points, ring = rings(400)
    generator = np.random.RandomState(0)
    assert adjusted_rand_score(ring, spectral_clusters(points, 2, 5, generator, 5)) == 1.0
    assert adjusted_rand_score(ring, k_means(points, 2, generator, 5)) < 0.1


def test_components_are_placed_on_clusters_of_neighbours():
    model = MultiFacetVae(TINY, SPEC)
    # As many groups as components, far from each other: there the graph is in pieces, of which each is a cluster.
    group = [torch.arange(120) % n_components for n_components in TINY.n_components]
    latents = [
        0.1 * torch.randn(1, 120, dim) + 9.0 * of[None, :, None]
        for of, dim in zip(group, TINY.latent_dims, strict=True)
    ]
    init_clusters(model, [3], latents, 4)
    for facet, (z, of) in enumerate(zip(latents, group, strict=True)):
        placed = model.prior(facet).means[0].detach()
        expected = torch.stack([z[0, of == c].mean(0) for c in range(len(placed))])
        torch.testing.assert_close(placed[placed[:, 0].argsort()], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n_neighbours", [0, 4])
def test_clusters_of_few_distinct_latents_stay_finite(n_neighbours: int):
    model = MultiFacetVae(TINY, SPEC)
    latents = [torch.eye(2, dim).repeat(6, 1)[None] for dim in TINY.latent_dims]
    init_clusters(model, [0], latents, n_neighbours)
    assert all(bool(value.isfinite().all()) for value in model.priors.state_dict().values())
    assert model.prior(0).log_joint(torch.zeros(1, 3, TINY.latent_dims[0])).isfinite().all()
