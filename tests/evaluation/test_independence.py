import numpy as np
import pytest
from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score
from sklearn.metrics.cluster import expected_mutual_information as sklearn_expected

from pipeline.core.contingency import expected_mutual_information
from pipeline.evaluation.independence import dependence_of_all, facet_dependence


def test_copies_share_everything_and_a_grid_nothing():
    first = np.repeat(np.arange(3), 4)
    copy = facet_dependence(first, first, 3, 3)
    assert copy.mutual_information == pytest.approx(np.log(3), rel=1e-12)
    assert copy.normalised == pytest.approx(1.0)
    grid = facet_dependence(first, np.tile(np.arange(4), 3), 3, 4)
    assert grid.mutual_information == grid.normalised == 0.0
    assert grid.chance > 0.1


def test_agrees_with_scikit_learn_with_empty_components():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 5, 80)
    second = np.where(rng.random(80) < 0.5, first, rng.integers(0, 6, 80)) + 1
    found = facet_dependence(first, second, 7, 9)
    assert found.normalised == pytest.approx(normalized_mutual_info_score(first, second), rel=1e-9)
    mean_entropy = found.mutual_information / found.normalised
    adjusted = (found.mutual_information - found.chance) / (mean_entropy - found.chance)
    assert adjusted == pytest.approx(adjusted_mutual_info_score(first, second), rel=1e-9)


@pytest.mark.parametrize(("n_images", "tolerance"), [(3, 1e-12), (2_000, 1e-10), (100_001, 1e-9)])
def test_chance_is_what_scikit_learn_expects(n_images, tolerance):
    rng = np.random.default_rng(0)
    table = rng.multinomial(n_images, rng.dirichlet(np.full(40, 0.3))).reshape(5, 8)
    occupied = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    expected = sklearn_expected(occupied, n_images)
    assert expected_mutual_information(table) == pytest.approx(expected, abs=tolerance)


def test_every_pair_once_and_none_for_a_single_facet():
    ids = [np.arange(6) % k for k in (2, 3, 2)]
    pairs = dependence_of_all(ids, (2, 3, 2))
    assert sorted(pairs) == [(0, 1), (0, 2), (1, 2)]
    assert pairs[0, 2].normalised == pytest.approx(1.0)
    assert pairs[0, 1].normalised == pytest.approx(0.0, abs=1e-12)
    assert dependence_of_all(ids[:1], (2,)) == {}
