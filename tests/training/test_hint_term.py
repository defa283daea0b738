"""The term of hints: pair by pair in numpy, its gradient by finite differences, and where images coincide."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import norm

from pipeline.core.hints import DIFFERENT, SAME, HintPair, collect_hints
from pipeline.model import DiagonalNormal
from pipeline.training.hint_term import HintTerm, cluster_variance, distances, pair_loss
from tests.model.builders import TINY, random_model, solo

N = 7


def random_means(dim=2, n_images=N):
    generator = torch.Generator().manual_seed(dim)
    return torch.randn(2, n_images, dim, generator=generator, dtype=torch.float64)


VARIANCE = torch.tensor([[0.3, 1.1], [0.7, 0.2]], dtype=torch.float64)


def random_relation():
    generator = torch.Generator().manual_seed(1)
    upper = torch.randint(-1, 2, (2, N, N), generator=generator, dtype=torch.int8).triu(1)
    return upper + upper.mT


def overlap(one, other, deviations):
    """Return the integral of the root of two normals' product, dimension by dimension."""
    x = np.linspace(-40, 40, 4001)
    each = zip(one, other, deviations, strict=True)
    return math.prod(np.trapezoid(np.sqrt(norm.pdf(x, a, std) * norm.pdf(x, b, std)), x) for a, b, std in each)


def pair_by_pair(means, variance, relation):
    """Return the term of one seed: means "drawn latent", variances of a cluster."""
    same, different = [], []
    for i in range(len(means)):
        for k in range(i + 1, len(means)):
            s = overlap(means[i], means[k], np.sqrt(variance)) if relation[i, k] else 0.0
            if relation[i, k] == SAME:
                same.append(-math.log(s))
            if relation[i, k] == DIFFERENT:
                different.append(-math.log(1 - s))
    return 4 * float(np.mean(same or 0.0)) + float(np.mean(different or 0.0))


@pytest.mark.parametrize("kept", [None, SAME, DIFFERENT, 0])
def test_the_term_is_the_mean_over_pairs_of_each_kind(kept):
    """Without pairs of one kind the other remains."""
    means, relation = random_means(), random_relation()
    relation = relation if kept is None else relation * (relation == kept)
    found = pair_loss(distances(means, VARIANCE), relation)
    expected = [pair_by_pair(means[s].numpy(), VARIANCE[s].numpy(), relation[s].numpy()) for s in range(2)]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4)  # to each distance 1e-6 is added
    assert (found == 0).all() == (kept == 0)


def test_its_gradient_is_that_of_finite_differences():
    relation, means = random_relation(), random_means().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: pair_loss(distances(x, VARIANCE), relation), means)


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_a_clusters_width_is_that_of_the_mixture(covariance):
    """The variance of a draw from it, less that of its component's mean; it has no gradient."""
    model = random_model(replace(TINY, covariance=(covariance, covariance)), n_seeds=2)
    prior = model.prior(1)
    found = cluster_variance(prior)
    assert not found.requires_grad
    for seed in range(2):
        weights = prior.log_mixing_weights[seed].exp().detach().numpy()
        matrices = prior.covariance.matrices()[seed].detach().numpy()
        expected = sum(weight * np.diag(matrix) for weight, matrix in zip(weights, matrices, strict=True))
        np.testing.assert_allclose(found[seed].numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("kind", [SAME, DIFFERENT])
@pytest.mark.parametrize("gap", [0.0, 1e-20, 1e-3, 1.0, 1e4])
def test_it_is_finite_with_finite_gradients_however_close_or_far_images_are(kind, gap):
    """In single precision, in standard deviations. What is met does not pull; what is not met does."""
    relation = torch.tensor([[[0, kind], [kind, 0]]], dtype=torch.int8)
    means = torch.tensor([[[0.0], [gap]]], requires_grad=True)
    loss = pair_loss(distances(means, torch.ones(1, 1)), relation)
    loss.sum().backward()
    assert means.grad is not None
    assert loss.isfinite().all()
    assert means.grad.isfinite().all()
    if gap in {1e-3, 1e4}:
        is_met = (gap < 1) == (kind == SAME)
        assert (means.grad.abs().max() < 1e-2) if is_met else (means.grad.abs().max() > 1)


def expected_term(model, hints, means, drawn, fade_in, weight, first_facet):
    total = 0.0
    for seed in range(2):
        for facet in range(first_facet, 2):
            chunklet = hints.chunklets[facet][drawn[seed]]
            relation = hints.relations[facet][chunklet[:, None], chunklet[None]]
            relation = relation * (drawn[seed][:, None] != drawn[seed][None])  # an image that is drawn twice
            own, variance = means[facet - first_facet][seed].numpy(), cluster_variance(model.prior(facet))[seed].numpy()
            total += weight * fade_in[facet - first_facet] * pair_by_pair(own, variance, relation)
    return total


@pytest.mark.parametrize("first_facet", [0, 1])
def test_all_seeds_and_facets_with_their_coefficients(first_facet):
    labels = np.array([[0, 0, 1, 1, -1, -1], [-1, 2, 2, 3, 3, -1]]).T
    hints = collect_hints(labels, [HintPair(0, 5, 1, is_same=False), HintPair(4, 5, 0, is_same=True)])
    model = random_model(n_seeds=2)
    drawn = np.array([[0, 1, 2, 3, 4, 5, 1], [5, 5, 0, 2, 4, 4, 3]])
    means = [0.3 * random_means(dim) for dim in TINY.latent_dims][first_facet:]
    fade_in = torch.tensor([0.25, 1.0], dtype=torch.float64)[first_facet:]
    term = HintTerm(hints, model, first_facet, 30.0)
    assert term.rows.tolist() == [0, 1, 2, 3, 4, 5]
    found = term([DiagonalNormal(m, m) for m in means], torch.from_numpy(drawn), fade_in)
    expected = expected_term(model, hints, means, drawn, fade_in.tolist(), 30.0, first_facet)
    assert found.item() == pytest.approx(expected, rel=1e-4)


def test_every_seed_has_its_own_gradient():
    """That of its solo run, in the latents; the mixtures have none."""
    hints = collect_hints(np.array([[0, 0, 1, 1]] * 2).T)
    model = random_model(n_seeds=2)
    drawn = torch.arange(4).expand(2, 4)
    means = [random_means(dim, n_images=4).requires_grad_() for dim in TINY.latent_dims]
    HintTerm(hints, model, 0, 1.0)([DiagonalNormal(m, m) for m in means], drawn, torch.ones(2)).backward()
    for index in range(2):
        alone = solo(model, index)
        own = [mean[index : index + 1].detach().requires_grad_() for mean in means]
        HintTerm(hints, alone, 0, 1.0)([DiagonalNormal(m, m) for m in own], drawn[:1], torch.ones(2)).backward()
        for one, mean in zip(own, means, strict=True):
            assert mean.grad is not None
            torch.testing.assert_close(mean.grad[index : index + 1], one.grad)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_mixtures_values_are_those_of_the_step():
    hints = collect_hints(np.array([[0, 0, 1, 1]] * 2).T)
    model, other = random_model(seed=0), random_model(seed=1)
    term, expected = HintTerm(hints, model, 0, 1.0), HintTerm(hints, other, 0, 1.0)
    with torch.no_grad():
        for own, value in zip(model.parameters(), other.parameters(), strict=True):
            own.copy_(value)
    mean = [torch.randn(1, 4, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(dim)) for dim in (2, 3)]
    posteriors = [DiagonalNormal(m, m) for m in mean]
    assert term(posteriors, torch.arange(4)[None], torch.ones(2)) == expected(
        posteriors, torch.arange(4)[None], torch.ones(2)
    )
