"""The term of hints: pair by pair in numpy, its gradient by finite differences, and where clusters are sure."""

import math

import numpy as np
import pytest
import torch

from pipeline.model import DiagonalNormal
from pipeline.training.hint_term import HintTerm, pair_loss
from pipeline.training.hints import DIFFERENT, SAME, HintPair, collect_hints
from tests.model.builders import TINY, random_model, solo

N = 7


def random_logits(n_seeds=2, n_components=4, spread=2.0):
    generator = torch.Generator().manual_seed(0)
    return spread * torch.randn(n_seeds, N, n_components, generator=generator, dtype=torch.float64)


def random_relation(n_seeds=2):
    generator = torch.Generator().manual_seed(1)
    upper = torch.randint(-1, 2, (n_seeds, N, N), generator=generator, dtype=torch.int8).triu(1)
    return upper + upper.mT


def pair_by_pair(resp, relation):
    """Return the term of one seed: responsibilities "drawn component"."""
    same, different = [], []
    for i in range(len(resp)):
        for k in range(i + 1, len(resp)):
            s = sum(resp[i, c] * resp[k, c] for c in range(resp.shape[1]))
            if relation[i, k] == SAME:
                same.append(-math.log(s))
            if relation[i, k] == DIFFERENT:
                different.append(-math.log(1 - s))
    return (np.mean(same) if same else 0.0) + (np.mean(different) if different else 0.0)


def test_the_term_is_the_mean_over_pairs_of_each_kind():
    log_resp, relation = random_logits().log_softmax(-1), random_relation()
    found = pair_loss(log_resp, relation)
    expected = [pair_by_pair(log_resp[s].exp().numpy(), relation[s].numpy()) for s in range(2)]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("kept", [SAME, DIFFERENT, 0])
def test_without_pairs_of_a_kind_the_other_remains(kept):
    log_resp, relation = random_logits().log_softmax(-1), random_relation()
    relation = relation * (relation == kept)
    found = pair_loss(log_resp, relation)
    expected = [pair_by_pair(log_resp[s].exp().numpy(), relation[s].numpy()) for s in range(2)]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
    assert (found == 0).all() == (kept == 0)


def test_its_gradient_is_that_of_finite_differences():
    relation = random_relation()
    logits = random_logits().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: pair_loss(x.log_softmax(-1), relation), logits)


@pytest.mark.parametrize("kind", [SAME, DIFFERENT])
@pytest.mark.parametrize("gap", [10.0, 30.0, 90.0, 1e4, 1e30])
def test_it_is_finite_with_finite_gradients_however_sure_the_clusters(kind, gap):
    """In single precision: two images sure of one cluster, or of two."""
    relation = torch.tensor([[[0, kind], [kind, 0]]], dtype=torch.int8)
    for clusters in ([0, 0], [0, 1]):
        logits = torch.zeros(1, 2, 3)
        logits[0, [0, 1], clusters] = gap
        logits.requires_grad_()
        loss = pair_loss(logits.log_softmax(-1), relation)
        loss.sum().backward()
        assert logits.grad is not None
        assert loss.isfinite().all()
        assert logits.grad.isfinite().all()
        assert logits.grad.abs().max() < 3
        is_met = (clusters[0] == clusters[1]) == (kind == SAME)
        if gap == 30.0:  # what is not met pulls in full, sure as the clusters are, also where 1 - s rounds to 0
            assert (logits.grad.abs().max() < 1e-10) if is_met else (logits.grad.abs().max() > 0.4)


def expected_term(model, hints, posteriors, drawn, fade_in, weight, first_facet=0):
    total = 0.0
    for seed in range(model.n_seeds):
        for facet in range(first_facet, 2):
            mean = posteriors[facet - first_facet].mean
            resp = model.prior(facet).log_resp(mean)[seed].exp().detach().numpy()
            chunklet = hints.chunklets[facet][drawn[seed]]
            relation = hints.relations[facet][chunklet[:, None], chunklet[None]]
            relation = relation * (drawn[seed][:, None] != drawn[seed][None])  # an image that is drawn twice
            total += weight * fade_in[facet - first_facet] * pair_by_pair(resp, relation)
    return total


@pytest.mark.parametrize("first_facet", [0, 1])
def test_all_seeds_and_facets_with_their_coefficients(first_facet):
    labels = np.array([[0, 0, 1, 1, -1, -1], [-1, 2, 2, 3, 3, -1]]).T
    hints = collect_hints(labels, [HintPair(0, 5, 1, is_same=False), HintPair(4, 5, 0, is_same=True)])
    model = random_model(n_seeds=2)
    generator = torch.Generator().manual_seed(5)
    drawn = np.array([[0, 1, 2, 3, 4, 5, 1], [5, 5, 0, 2, 4, 4, 3]])
    means = [torch.randn(2, 7, dim, generator=generator, dtype=torch.float64) for dim in TINY.latent_dims]
    posteriors = [DiagonalNormal(mean, torch.zeros_like(mean)) for mean in means][first_facet:]
    fade_in = torch.tensor([0.25, 1.0], dtype=torch.float64)[first_facet:]
    term = HintTerm(hints, model, first_facet, 30.0)
    assert term.rows.tolist() == [0, 1, 2, 3, 4, 5]
    found = term(posteriors, torch.from_numpy(drawn), fade_in)
    expected = expected_term(model, hints, posteriors, drawn, fade_in.tolist(), 30.0, first_facet)
    assert found.item() == pytest.approx(expected, rel=1e-10)


def test_every_seed_has_its_own_gradient():
    """That of its solo run, in the latents; the mixtures have none."""
    hints = collect_hints(np.array([[0, 0, 1, 1]] * 2).T)
    model = random_model(n_seeds=2)
    drawn = torch.arange(4).expand(2, 4)
    means = [
        torch.randn(2, 4, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(dim)) for dim in (2, 3)
    ]
    for mean in means:
        mean.requires_grad_()
    HintTerm(hints, model, 0, 1.0)([DiagonalNormal(m, m) for m in means], drawn, torch.ones(2)).backward()
    for index in range(2):
        alone = solo(model, index)
        own = [mean[index : index + 1].detach().requires_grad_() for mean in means]
        HintTerm(hints, alone, 0, 1.0)([DiagonalNormal(m, m) for m in own], drawn[:1], torch.ones(2)).backward()
        for one, mean in zip(own, means, strict=True):
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
