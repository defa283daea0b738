from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import adjusted_rand_score, mutual_info_score, normalized_mutual_info_score

from pipeline.core.contingency import (
    adjusted_rand,
    contingency,
    entropy,
    mutual_information,
    normalised_mutual_information,
)
from pipeline.evaluation.accuracy import accuracy, accuracy_same_split, hungarian_accuracy, majority_map

TRAIN = np.array([[5, 1, 0], [2, 2, 1], [0, 0, 0], [0, 3, 6]])
TEST = np.array([[3, 0, 1], [0, 4, 0], [1, 0, 2], [0, 1, 8]])

tables = arrays(np.int64, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.integers(0, 9)).filter(np.any)


def as_lists(table):
    components, classes = np.indices(table.shape)
    return np.repeat(components.ravel(), table.ravel()), np.repeat(classes.ravel(), table.ravel())


def test_contingency_counts_and_leaves_unknown_labels_out():
    table = contingency(np.array([0, 0, 2, 2, 2]), np.array([1, 1, 0, -1, 1]), 3, 2)
    np.testing.assert_array_equal(table, [[0, 2], [0, 0], [1, 1]])


@pytest.mark.parametrize(
    ("cluster_id", "label", "message"),
    [([0, 3], [0, 0], r"cluster_id must lie in 0\.\.2"), ([0, 1], [0, 2], r"label must lie in 0\.\.1")],
)
def test_contingency_refuses_numbers_out_of_range(cluster_id, label, message):
    with pytest.raises(ValueError, match=message):
        contingency(np.array(cluster_id), np.array(label), 3, 2)


def test_majority_by_hand():
    # component 1 ties between classes 0 and 1; component 2 is empty and gets the most frequent class (2: seven images,
    # as many as class 0 -> the smaller number, 0).
    np.testing.assert_array_equal(majority_map(TRAIN), [0, 0, 0, 2])
    assert accuracy(TRAIN, TEST) == (3 + 0 + 1 + 8) / 20
    assert accuracy_same_split(TEST) == (3 + 4 + 2 + 8) / 20


def test_hungarian_by_hand():
    assert hungarian_accuracy(np.array([[1, 6, 0], [5, 4, 0], [0, 3, 1]])) == (6 + 5 + 1) / 20
    assert hungarian_accuracy(TEST) == (3 + 4 + 8) / 20  # the third component has no partner


@given(arrays(np.int64, st.tuples(st.integers(1, 4), st.integers(1, 4)), elements=st.integers(0, 9)).filter(np.any))
def test_hungarian_is_the_best_of_all_one_to_one_maps(table):
    few, many = sorted((table, table.T), key=len)
    maps = permutations(range(len(many)), len(few))
    best = max(sum(many[chosen, place] for place, chosen in enumerate(one)) for one in maps)
    assert hungarian_accuracy(table) == best / table.sum()


def test_an_empty_table_has_no_score():
    with pytest.raises(ValueError, match="at least one labelled image"):
        accuracy_same_split(np.zeros((3, 2), dtype=np.int64))


@given(tables)
def test_agrees_with_scikit_learn(table):
    components, classes = as_lists(table)
    np.testing.assert_allclose(mutual_information(table), mutual_info_score(classes, components), atol=1e-12)
    np.testing.assert_allclose(adjusted_rand(table), adjusted_rand_score(classes, components), atol=1e-12)
    if len(set(components)) > 1 or len(set(classes)) > 1:  # scikit-learn gives 1 for two constants
        reference = normalized_mutual_info_score(classes, components)
        np.testing.assert_allclose(normalised_mutual_information(table), reference, atol=1e-9)


def test_two_constants_tell_nothing_about_each_other():
    assert normalised_mutual_information(np.array([[7]])) == 0.0


@given(tables, st.randoms(use_true_random=False))
def test_relabelling_components_changes_nothing(table, random):
    order = list(range(len(table)))
    random.shuffle(order)
    for score in (accuracy_same_split, mutual_information, normalised_mutual_information, adjusted_rand):
        np.testing.assert_allclose(score(table[order]), score(table), rtol=1e-12, atol=1e-12)
    assert accuracy(table[order], table[order]) == accuracy(table, table)


@given(tables)
def test_same_split_is_the_best_of_all_maps(table):
    best = accuracy_same_split(table)
    assert accuracy(table, table) == best
    assert table.sum(axis=0).max() / table.sum() <= best <= 1
    assert hungarian_accuracy(table) <= best


def test_entropy_of_equal_groups_is_the_log_of_their_number():
    assert entropy(np.array([4, 0, 4, 4])) == pytest.approx(np.log(3), rel=1e-12)
    assert entropy(np.array([9])) == 0.0
