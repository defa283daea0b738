from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.stats import entropy

from pipeline.asking.choose import choose_images, nearness, pair_entropy, weigh_images
from tests.groups.builders import soft

NOBODY = np.array([], np.int64)


def value(near: np.ndarray, weights: np.ndarray, chosen: tuple[int, ...]) -> float:
    """F, image by image."""
    return sum(weights[i] * max((near[i, k] for k in chosen), default=0.0) for i in range(len(near)))


def problem(seed: int, n_images: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return nearness([rng.normal(size=(n_images, 2))], 3), rng.random(n_images)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3))
def test_what_is_open_is_the_mean_entropy_of_every_pair(seed: int, n_clusterings: int) -> None:
    rng = np.random.default_rng(seed)
    clusterings = [rng.dirichlet(np.full(3, 0.3), 8) for _ in range(n_clusterings)]
    expected = np.zeros(8)
    for i in range(8):
        for k in range(8):
            same = np.mean([sum(resp[i, c] * resp[k, c] for c in range(3)) for resp in clusterings])
            expected[i] += entropy([same, 1 - same]) / 8
    np.testing.assert_allclose(pair_entropy(clusterings), expected, atol=1e-12)


def test_nothing_is_open_where_sure_clusterings_agree_and_much_where_they_do_not() -> None:
    one = np.repeat([0, 1], 50)
    other = one.copy()
    other[:5] = 1  # all but these are divided alike
    assert pair_entropy([soft(one, 2), soft(1 - one, 2)]) == pytest.approx(np.zeros(100), abs=1e-12)
    entropy = pair_entropy([soft(one, 2), soft(other, 2)])
    assert entropy[:5].min() > 5 * entropy[5:].max() > 0


def test_what_is_open_does_not_depend_on_how_many_images_are_looked_at_together() -> None:
    clusterings = [np.random.default_rng(0).dirichlet(np.ones(3), 1500)]
    doubled = [np.concatenate([resp, resp]) for resp in clusterings]
    np.testing.assert_allclose(pair_entropy(doubled), np.tile(pair_entropy(clusterings), 2), rtol=1e-9)


def test_doubt_counts_from_the_first_hint_on_and_never_alone() -> None:
    clusterings = [np.random.default_rng(0).dirichlet(np.ones(3), 50)]
    np.testing.assert_array_equal(weigh_images(clusterings, 0), np.ones(50))
    weights = weigh_images(clusterings, 1)
    assert weights.mean() == pytest.approx(2)
    np.testing.assert_allclose(
        (weights - 1) / (weights - 1)[0], pair_entropy(clusterings) / pair_entropy(clusterings)[0]
    )
    np.testing.assert_array_equal(weigh_images([soft(np.zeros(5, int), 1)], 9), np.ones(5))


def test_nearness_is_a_gaussian_as_wide_as_an_asked_image_has_to_stand_for() -> None:
    rng = np.random.default_rng(0)
    latents = [rng.normal(size=(40, 3)) + 100, rng.normal(size=(40, 2)) * 1e-3]
    expected = []
    for one in latents:
        squared = cdist(one, one, "sqeuclidean")
        expected.append(np.exp(-squared / np.median(np.sort(squared, axis=1)[:, 8])))  # 40 images, 5 asked
    np.testing.assert_allclose(nearness(latents, 5), np.mean(expected, axis=0), atol=2e-3)


def test_nearness_bears_models_that_place_all_images_alike() -> None:
    near = nearness([np.zeros((5, 2)), np.arange(5.0)[:, None]], 50)
    assert np.isfinite(near).all()
    assert (near.diagonal() == 1).all()
    assert near[0, 4] == pytest.approx(0.5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_every_choice_adds_most_and_all_together_reach_what_greedy_choices_must(seed: int) -> None:
    near, weights = problem(seed, 8)
    chosen = choose_images(near, weights, NOBODY, 3)
    for n in range(3):
        before = tuple(chosen[:n])
        gains = {k: value(near, weights, (*before, k)) for k in range(8) if k not in before}
        assert gains[chosen[n]] == pytest.approx(max(gains.values()))
    best = max(value(near, weights, subset) for subset in combinations(range(8), 3))
    assert value(near, weights, tuple(chosen)) >= (1 - 1 / np.e) * best


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_what_was_asked_before_counts_and_is_not_asked_again(seed: int) -> None:
    near, weights = problem(seed, 8)
    first = choose_images(near, weights, NOBODY, 2)
    second = choose_images(near, weights, first, 3)
    assert list(choose_images(near, weights, NOBODY, 5)) == [*first, *second]


def test_no_image_is_asked_twice_and_none_where_all_were_asked() -> None:
    near, weights = problem(0, 6)
    assert sorted(choose_images(near, weights, NOBODY, 100)) == list(range(6))
    assert sorted(choose_images(near, 0 * weights, np.array([1]), 100)) == [0, 2, 3, 4, 5]
    assert choose_images(near, weights, np.arange(6), 3).shape == (0,)


def test_outliers_and_neighbours_of_what_was_chosen_come_last() -> None:
    rng = np.random.default_rng(0)
    crowds = [rng.normal(place, 0.1, (20, 2)) for place in ((0, 0), (10, 0), (0, 10))]
    points = np.concatenate([*crowds, [[50.0, 50.0]]])
    chosen = choose_images(nearness([points], 3), np.ones(61), NOBODY, 4)
    assert {number // 20 for number in chosen[:3]} == {0, 1, 2}
    doubtful = np.where(np.arange(61) // 20 == 1, 1.0, 0.1)
    assert choose_images(nearness([points], 3), doubtful, NOBODY, 1)[0] // 20 == 1
