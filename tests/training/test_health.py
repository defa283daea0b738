from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import special, stats

from pipeline.training.health import facet_health, held_out_clusters, mean_bound
from tests import oracles
from tests.model.builders import CONVOLUTIONAL, TINY, solo
from tests.training.builders import started_model, uint8_images

IMAGES = uint8_images(40)


def test_condition_of_every_facet_and_seed():
    model = started_model(TINY, (0, 1), torch.float64)
    health = facet_health(model, IMAGES)
    for seed in range(2):
        with torch.no_grad():
            posteriors = solo(model, seed).encode((IMAGES.to(torch.float64) / 255)[None])
        for facet, qz in enumerate(posteriors):
            prior = model.prior(facet)
            mixture = prior.mixing_logits[seed].softmax(-1), prior.means[seed], prior.covariance.matrices()[seed]
            weights, means, covariances = (part.detach().numpy() for part in mixture)
            # Eq. 12 in closed form, term by term.
            trace = np.einsum("bi,ci->bc", qz.variance[0], np.stack([np.diag(np.linalg.inv(c)) for c in covariances]))
            score = oracles.log_normals(qz.mean[0].numpy(), means, covariances) + np.log(weights) - trace / 2
            resp = special.softmax(score, axis=1)
            sizes = np.bincount(resp.argmax(1), minlength=len(weights))
            found = health[seed][facet]
            assert found.occupied == (sizes > 0).sum()
            assert found.max_share == pytest.approx(sizes.max() / 40)
            assert found.entropy == pytest.approx(stats.entropy(sizes) / np.log(len(weights)))
            assert found.confidence == pytest.approx(resp.max(1).mean())
            told = np.mean([stats.entropy(one, resp.mean(0)) for one in resp])  # KL: the mutual information
            assert found.certainty == pytest.approx(told / stats.entropy(resp.mean(0)))
            ratio = qz.mean[0].numpy().var(0, ddof=1) / qz.variance[0].numpy().mean(0)
            assert found.active_units == (ratio > 0.1).sum()


def test_held_out_clusters_are_those_of_the_exact_responsibilities():
    model = started_model(TINY, (0, 1), torch.float64)
    found = held_out_clusters(model, IMAGES).numpy()
    assert found.shape == (2, 2, 40)
    health = facet_health(model, IMAGES)
    for seed in range(2):
        alone = solo(model, seed)
        with torch.no_grad():
            posteriors = alone.encode((IMAGES.to(torch.float64) / 255)[None])
            resp = [alone.prior(facet).exact_log_resp(qz)[0].numpy() for facet, qz in enumerate(posteriors)]
        for facet in range(2):
            np.testing.assert_array_equal(found[seed, facet], resp[facet].argmax(1))
            assert np.bincount(found[seed, facet]).max() / 40 == pytest.approx(health[seed][facet].max_share)


def test_a_head_that_ignores_the_image_has_no_active_unit_and_one_cluster():
    model = started_model(TINY, (0,))
    with torch.no_grad():
        model.network.heads[1].weight.zero_()
    one, other = facet_health(model, IMAGES)[0]
    assert one.active_units > 0
    assert (other.active_units, other.occupied, other.max_share) == (0, 1, 1.0)
    assert other.entropy == pytest.approx(0.0)


def test_a_facet_of_one_component_has_full_entropy():
    (facets,) = facet_health(started_model(replace(TINY, n_components=(1, 3)), (0,)), IMAGES)
    assert (facets[0].entropy, facets[0].occupied, facets[0].confidence, facets[0].certainty) == (1.0, 1, 1.0, 0.0)


@pytest.mark.parametrize("params", [TINY, CONVOLUTIONAL])
def test_the_mean_bound_is_the_mean_of_the_terms(params):
    """Equal noise for all seeds and calls; in evaluation mode; waiting facets count 0."""
    model = started_model(params, (0, 1), torch.float64).train()
    images = uint8_images(12, params)
    bound = mean_bound(model, images, 0, (0.5, 1.0), torch.float64)
    np.testing.assert_array_equal(bound, mean_bound(model, images, 0, (0.5, 1.0), torch.float64))
    alone = mean_bound(solo(model, 1).eval(), images, 0, (0.5, 1.0), torch.float64)
    np.testing.assert_allclose(bound[1:], alone, rtol=1e-8)
    assert not model.training
    waiting = mean_bound(model, images, 1, (0.0, 1.0), torch.float64)
    assert (waiting[:, 1:3] == 0).all()
    np.testing.assert_allclose(waiting[:, 3:], bound[:, 3:], rtol=1e-8)


def test_the_mean_does_not_depend_on_the_block(monkeypatch):
    """Only the noise does: with posteriors that are almost points, blocks of 5 and of all agree."""
    from pipeline.training import health as health_module

    model = started_model(TINY, (0,), torch.float64)
    with torch.no_grad():
        for head, dim in zip(model.network.heads, TINY.latent_dims, strict=True):
            head.bias[:, dim:] = -14.0
    whole = mean_bound(model, IMAGES, 0, (1.0, 1.0), torch.float64)
    monkeypatch.setattr(health_module, "_BLOCK", 7)
    np.testing.assert_allclose(mean_bound(model, IMAGES, 0, (1.0, 1.0), torch.float64)[:, 0], whole[:, 0], rtol=1e-3)
    assert facet_health(model, IMAGES)[0][0].active_units == 2
