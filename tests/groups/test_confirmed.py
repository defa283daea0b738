import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy
from sklearn.metrics import mutual_info_score

from pipeline.groups.confirmed import confirmed_share, overlap
from tests.groups.builders import soft


def test_overlap_sums_products_of_responsibilities():
    rng = np.random.default_rng(0)
    own, *others = (rng.dirichlet(np.ones(3), 7).astype(np.float32) for _ in range(3))
    brute = np.zeros((3, 2, 3))
    for image in range(7):
        for clustering in range(2):
            brute[:, clustering] += np.outer(own[image], others[clustering][image])
    np.testing.assert_allclose(overlap(own, others), brute, rtol=1e-6)


def test_a_row_of_the_overlap_gives_the_consensus_matrix_between_components():
    """C = mean over the others of R Rᵀ, summed over the images of two components, without C."""
    rng = np.random.default_rng(1)
    own, *others = (rng.dirichlet(np.ones(4), 30) for _ in range(4))
    consensus = np.mean([resp @ resp.T for resp in others], axis=0)
    rows = overlap(own, others)
    between = np.einsum("isk,jsk->ij", rows, rows) / len(others)
    np.testing.assert_allclose(between, own.T @ consensus @ own, rtol=1e-10)


@given(st.integers(0, 10_000), st.integers(1, 3))
def test_the_share_is_scikit_learns_mutual_information_over_the_entropy(seed, n_others):
    rng = np.random.default_rng(seed)
    own, *others = (rng.integers(0, 3, 40) for _ in range(n_others + 1))
    rows = overlap(soft(own, 3), [soft(other, 3) for other in others])
    found = confirmed_share(rows[0], rows[1:])
    for group in (1, 2):
        of_two = (own == 0) | (own == group)
        shares = np.bincount(own[of_two], minlength=3) / max(1, of_two.sum())
        informations = [mutual_info_score(own[of_two], other[of_two]) for other in others]
        expected = np.mean(informations) / entropy(shares) if (shares > 0).sum() == 2 else 0.0
        assert found[group - 1] == pytest.approx(expected, abs=1e-9)


def test_the_share_is_one_for_the_same_cut_and_zero_for_one_that_ignores_it():
    own = np.repeat([0, 1], 50)
    same, across, half = soft(1 - own, 2), soft(np.tile([0, 1], 50), 2), soft(np.repeat([0, 1, 1, 0], 25), 2)
    for other, expected in ((same, 1.0), (across, 0.0), (half, 0.0)):
        rows = overlap(soft(own, 2), [other])
        assert confirmed_share(rows[0], rows[1:]) == pytest.approx([expected], abs=1e-9)
    rows = overlap(soft(own, 2), [same, across])
    assert confirmed_share(rows[0], rows[1:]) == pytest.approx([0.5])


def test_a_group_of_tiny_mass_has_a_share_and_one_without_mass_has_none():
    own = np.array([[1 - 1e-30, 1e-30, 0.0]] * 5)
    own[:2] = [1 - 1e-12, 1e-12, 0.0]
    rows = overlap(own, [soft(np.array([1, 1, 0, 0, 0]), 3)])
    tiny, none = confirmed_share(rows[0], rows[1:])
    assert 0 < tiny < 0.1
    assert none == 0
