import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from pipeline.groups import find_groups, group_facet
from pipeline.groups import opinions as opinions_module
from pipeline.groups.find import reproducibility
from pipeline.groups.opinions import refitted_responsibilities, responsibilities
from pipeline.model import DiagonalNormal
from tests.groups.builders import clusterings
from tests.model.builders import TINY
from tests.training.builders import started_model, uint8_images

IMAGES = uint8_images(60)


def models(*seeds):
    return [started_model(TINY, (seed,)) for seed in seeds]


def test_other_seeds_are_compared_with_facet_by_facet():
    published, *others = models(7, 8, 9)
    found = find_groups(published, 7, zip((8, 9), others, strict=True), IMAGES)
    assert (found.compared_with, found.n_compared, found.n_images) == ("seeds", 4, 60)
    trained = [responsibilities(model, IMAGES) for model in (published, *others)]
    refits = [refitted_responsibilities(model, seed, IMAGES, 2) for seed, model in zip((8, 9), others, strict=True)]
    for facet, groups in enumerate(found.facets):
        reproduced = reproducibility([of_seed[facet] for of_seed in trained])
        assert groups == group_facet(trained[0][facet], refits[0][facet] + refits[1][facet], reproduced)


def test_exact_responsibilities_of_every_facet():
    (model,) = models(7)
    for facet, resp in enumerate(responsibilities(model, IMAGES)):
        qz = model.encode((IMAGES / 255)[None])[facet]
        expected = model.prior(facet).exact_log_resp(qz)[0].exp().detach()
        np.testing.assert_allclose(resp, expected, rtol=1e-4, atol=1e-6)


def test_a_refit_that_fails_leaves_the_mixture_as_it_was_trained(caplog):
    """Two images cannot be divided in three; the training that ended before must not be lost for it."""
    published, other = models(7, 8)
    few = IMAGES[:2]
    refits = refitted_responsibilities(other, 8, few, 2)
    for facet, resp in enumerate(responsibilities(other, few)):
        for refit in refits[facet]:
            np.testing.assert_array_equal(refit, resp)
    assert "seed 8 speaks with its mixture as it was trained: facet 0 needs at least as many" in caplog.text
    assert find_groups(published, 7, [(8, other)], few).n_images == 2


def test_reproducibility_is_scikit_learns_mean_adjusted_rand_index():
    _, made = clusterings(3, 2, n_seeds=3)
    pairs = [(made[0], made[1]), (made[0], made[2]), (made[1], made[2])]
    expected = np.mean([adjusted_rand_score(one.argmax(1), other.argmax(1)) for one, other in pairs])
    assert reproducibility(made) == pytest.approx(expected)


def test_one_seed_is_compared_with_refits_of_its_own_mixtures():
    (model,) = models(7)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = find_groups(model, 7, [], IMAGES)
    assert (found.compared_with, found.n_compared) == ("itself", 4)
    assert [facet.reproducibility for facet in found.facets] == [None, None]
    assert found == find_groups(model, 7, [], IMAGES)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_refits_divide_what_is_divided_and_differ_in_what_is_not(monkeypatch):
    """Two clouds, and more components: where a cloud is cut is left open, but no component has part of both."""
    (model,) = models(7)
    cloud = torch.arange(60) % 2

    def posterior(dim):
        noise = torch.randn(1, 60, dim, generator=torch.Generator().manual_seed(0))
        return DiagonalNormal(20.0 * cloud[None, :, None] + noise, torch.full((1, 60, dim), -4.0))

    posteriors = [posterior(dim) for dim in TINY.latent_dims]
    monkeypatch.setattr(opinions_module, "encode_posteriors", lambda _model, _images: posteriors)
    for of_facet in refitted_responsibilities(model, 7, IMAGES, 4):
        for found in (resp.argmax(1) for resp in of_facet):
            assert not set(found[cloud == 0].tolist()) & set(found[cloud == 1].tolist())
        assert reproducibility(of_facet) < 1
