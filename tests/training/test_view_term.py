"""The term of views against scipy's entropies, and whom it pulls."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from pipeline.model import DiagonalNormal
from pipeline.training.schedule import ProgressiveSchedule
from pipeline.training.view_term import ViewTerm, settled_facets
from tests.model.builders import TINY, random_model, solo
from tests.training.builders import TRAIN, phase

N = 5


def posteriors(seed, n_seeds=2):
    generator = torch.Generator().manual_seed(seed)
    means = [torch.randn(n_seeds, N, dim, generator=generator, dtype=torch.float64) for dim in TINY.latent_dims]
    return [DiagonalNormal(mean.requires_grad_(), torch.zeros_like(mean)) for mean in means]


def test_it_is_the_cross_entropy_from_image_to_view():
    model, images, views = random_model(n_seeds=2), posteriors(1), posteriors(2)
    found = ViewTerm(model, [0, 1], 0, 3.0)(images, views)
    expected = 0.0
    for facet in range(2):
        for seed in range(2):
            real, seen = (
                model.prior(facet).log_resp(qz[facet].mean)[seed].exp().detach().numpy() for qz in (images, views)
            )
            expected += np.mean([stats.entropy(r) + stats.entropy(r, q) for r, q in zip(real, seen, strict=True)])
    assert found.item() == pytest.approx(3 * expected, rel=1e-10)


def test_it_moves_the_views_latents_alone_and_each_seeds_by_its_own_gradient():
    model, images, views = random_model(n_seeds=2), posteriors(1), posteriors(2)
    ViewTerm(model, [1], 0, 1.0)(images, views).backward()
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(qz.mean.grad is None for qz in (*images, views[0]))
    for index in range(2):
        own = [
            [DiagonalNormal(*(part[index : index + 1].detach() for part in qz)) for qz in of] for of in (images, views)
        ]
        own[1][1].mean.requires_grad_()
        ViewTerm(solo(model, index), [1], 0, 1.0)(*own).backward()
        torch.testing.assert_close(own[1][1].mean.grad, views[1].mean.grad[index : index + 1])


def test_where_a_facet_starts_later_its_place_is_counted_from_there():
    model, images, views = random_model(n_seeds=2), posteriors(1), posteriors(2)
    one, other = ViewTerm(model, [1], 0, 1.0)(images, views), ViewTerm(model, [1], 1, 1.0)(images[1:], views[1:])
    assert torch.equal(one, other)


def test_it_begins_in_the_phase_after_that_in_which_a_facet_joined():
    three = replace(TRAIN, phases=(phase(1), phase(1), phase(1)))
    chunks = list(ProgressiveSchedule(three, 3, 8).chunks())
    assert [settled_facets((0, 1, 2), chunk) for chunk in chunks] == [[], [2], [1, 2]]
    assert [settled_facets((0, 1), chunk) for chunk in chunks] == [[], [], [1]]
    at_once = replace(TRAIN, phases=(phase(2),))
    assert [settled_facets((0, 1), chunk) for chunk in ProgressiveSchedule(at_once, 2, 8).chunks()] == [[], []]
