"""The term of hints: pair by pair against scipy, its gradient by finite differences, and where posteriors coincide."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from pipeline.model import DiagonalNormal
from pipeline.training.hint_term import HintTerm, distances, pair_loss
from pipeline.training.hints import DIFFERENT, SAME, HintPair, collect_hints

N = 7
DIMS = (2, 3)


def random_posterior(dim=2, n_seeds=2, seed=0, n_images=N):
    generator = torch.Generator().manual_seed(seed)
    mean, log_variance = torch.randn(2, n_seeds, n_images, dim, generator=generator, dtype=torch.float64)
    return DiagonalNormal(mean, log_variance)


def random_relation(n_seeds=2):
    generator = torch.Generator().manual_seed(1)
    upper = torch.randint(-1, 2, (n_seeds, N, N), generator=generator, dtype=torch.int8).triu(1)
    return upper + upper.mT


def overlap(one, other, deviations):
    """Return the integral of the root of two normals' product, dimension by dimension."""
    x = np.linspace(-40, 40, 4001)
    each = zip(one, other, deviations, strict=True)
    return math.prod(np.trapezoid(np.sqrt(norm.pdf(x, a, std) * norm.pdf(x, b, std)), x) for a, b, std in each)


def pair_by_pair(mean, variance, relation):
    """Return the term of one seed: posterior means and variances "drawn latent"."""
    same, different = [], []
    deviations = np.sqrt(variance.mean(0))
    for i in range(len(mean)):
        for k in range(i + 1, len(mean)):
            s = overlap(mean[i], mean[k], deviations) if relation[i, k] else 0.0
            if relation[i, k] == SAME:
                same.append(-math.log(s))
            if relation[i, k] == DIFFERENT:
                different.append(-math.log(1 - s))
    return (np.mean(same) if same else 0.0) + (np.mean(different) if different else 0.0)


@pytest.mark.parametrize("kept", [None, SAME, DIFFERENT, 0])
def test_the_term_is_the_mean_over_pairs_of_each_kind(kept):
    """Without pairs of one kind the other remains."""
    qz, relation = random_posterior(), random_relation()
    relation = relation if kept is None else relation * (relation == kept)
    found = pair_loss(distances(qz), relation)
    expected = [pair_by_pair(qz.mean[s].numpy(), qz.variance[s].numpy(), relation[s].numpy()) for s in range(2)]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4)  # to each distance 1e-6 is added
    assert (found == 0).all() == (kept == 0)


def test_its_gradient_is_that_of_finite_differences():
    relation, qz = random_relation(), random_posterior()
    mean = qz.mean.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: pair_loss(distances(DiagonalNormal(x, qz.log_variance)), relation), mean)


def test_variances_are_a_scale_without_gradient():
    """Latents in other units have the same term; it is the bound that says how sure of them a model is."""
    qz, relation = random_posterior(), random_relation()
    wide = DiagonalNormal(1e3 * qz.mean, qz.log_variance + 2 * math.log(1e3))
    torch.testing.assert_close(pair_loss(distances(wide), relation), pair_loss(distances(qz), relation))
    log_variance = qz.log_variance.requires_grad_()
    assert not distances(DiagonalNormal(qz.mean, log_variance)).requires_grad


@pytest.mark.parametrize("kind", [SAME, DIFFERENT])
@pytest.mark.parametrize("gap", [0.0, 1e-20, 1e-3, 1.0, 1e4])
def test_it_is_finite_with_finite_gradients_however_close_or_far_images_are(kind, gap):
    """In single precision, in standard deviations. What is met does not pull; what is not met does."""
    relation = torch.tensor([[[0, kind], [kind, 0]]], dtype=torch.int8)
    mean = torch.tensor([[[0.0], [gap]]], requires_grad=True)
    loss = pair_loss(distances(DiagonalNormal(mean, torch.zeros_like(mean))), relation)
    loss.sum().backward()
    assert mean.grad is not None
    assert loss.isfinite().all()
    assert mean.grad.isfinite().all()
    if gap in {1e-3, 1e4}:
        is_met = (gap < 1) == (kind == SAME)
        assert (mean.grad.abs().max() < 1e-3) if is_met else (mean.grad.abs().max() > 1)


def expected_term(hints, posteriors, drawn, fade_in, weight, first_facet):
    total = 0.0
    for seed in range(2):
        for facet in range(first_facet, 2):
            qz = posteriors[facet - first_facet]
            chunklet = hints.chunklets[facet][drawn[seed]]
            relation = hints.relations[facet][chunklet[:, None], chunklet[None]]
            relation = relation * (drawn[seed][:, None] != drawn[seed][None])  # an image that is drawn twice
            own = pair_by_pair(qz.mean[seed].numpy(), qz.variance[seed].numpy(), relation)
            total += weight * fade_in[facet - first_facet] * own
    return total


def make_term(hints, first_facet=0, weight=1.0):
    return HintTerm(hints, first_facet, weight, torch.device("cpu"))


@pytest.mark.parametrize("first_facet", [0, 1])
def test_all_seeds_and_facets_with_their_coefficients(first_facet):
    labels = np.array([[0, 0, 1, 1, -1, -1], [-1, 2, 2, 3, 3, -1]]).T
    hints = collect_hints(labels, [HintPair(0, 5, 1, is_same=False), HintPair(4, 5, 0, is_same=True)])
    drawn = np.array([[0, 1, 2, 3, 4, 5, 1], [5, 5, 0, 2, 4, 4, 3]])
    posteriors = [random_posterior(dim, seed=dim) for dim in DIMS][first_facet:]
    fade_in = torch.tensor([0.25, 1.0], dtype=torch.float64)[first_facet:]
    term = make_term(hints, first_facet, 30.0)
    assert term.rows.tolist() == [0, 1, 2, 3, 4, 5]
    found = term(posteriors, torch.from_numpy(drawn), fade_in)
    expected = expected_term(hints, posteriors, drawn, fade_in.tolist(), 30.0, first_facet)
    assert found.item() == pytest.approx(expected, rel=1e-4)


def test_every_seed_has_its_own_gradient():
    """That of its solo run."""
    term = make_term(collect_hints(np.array([[0, 0, 1, 1]] * 2).T))
    drawn = torch.arange(4).expand(2, 4)
    posteriors = [random_posterior(dim, seed=dim, n_images=4) for dim in DIMS]
    means = [qz.mean.requires_grad_() for qz in posteriors]
    term(posteriors, drawn, torch.ones(2)).backward()
    for index in range(2):
        own = [qz.mean[index : index + 1].detach().requires_grad_() for qz in posteriors]
        alone = [DiagonalNormal(m, qz.log_variance[index : index + 1]) for m, qz in zip(own, posteriors, strict=True)]
        term(alone, drawn[:1], torch.ones(2)).backward()
        for one, mean in zip(own, means, strict=True):
            torch.testing.assert_close(mean.grad[index : index + 1], one.grad)
