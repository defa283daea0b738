from dataclasses import astuple

import numpy as np
import pytest

from pipeline.core.contingency import contingency
from pipeline.evaluation.accuracy import accuracy, accuracy_same_split, hungarian_accuracy
from pipeline.evaluation.chance import chance_levels, random_tables


def shuffled(n, n_components, n_classes, rng):
    return contingency(
        rng.permutation(np.arange(n) % n_components), rng.permutation(np.arange(n) % n_classes), n_components, n_classes
    )


def test_equals_shuffling_the_images():
    rng = np.random.default_rng(1)
    cluster_id, label = rng.integers(0, 4, 300) ** 2 // 3, rng.integers(0, 4, 300)
    train, test = contingency(cluster_id[:200], label[:200], 4, 4), contingency(cluster_id[200:], label[200:], 4, 4)
    scores = []
    for _ in range(2000):
        deal_train = contingency(rng.permutation(cluster_id[:200]), label[:200], 4, 4)
        deal_test = contingency(rng.permutation(cluster_id[200:]), label[200:], 4, 4)
        same_split = accuracy_same_split(deal_test), accuracy_same_split(deal_train)
        scores.append([accuracy(deal_train, deal_test), *same_split, hungarian_accuracy(deal_test)])
    chance = chance_levels(train, test, train, draws=2000)
    error = np.std(scores, axis=0) / np.sqrt(2000)
    found = np.array(astuple(chance))
    assert np.all(np.abs(found - np.mean(scores, axis=0)) < 5 * error)


def test_the_level_of_mnist_with_25_components():
    # 10,000 images, 10 equal classes, 25 equal components: known from shuffling to be 0.125 (and 0.1 on a fresh split).
    rng = np.random.default_rng(0)
    chance = chance_levels(shuffled(60_000, 25, 10, rng), shuffled(10_000, 25, 10, rng), shuffled(500, 25, 10, rng))
    assert chance.accuracy_same_split == pytest.approx(0.125, abs=0.002)
    assert chance.accuracy == pytest.approx(0.1, abs=1e-9)
    assert 0.04 < chance.hungarian < 0.06  # ten cells of 40 images, each above its mean


@pytest.mark.parametrize("test", [[[6, 3, 1]], [[1, 0]], [[2, 1]], [[0, 0, 0], [0, 0, 0], [34, 33, 29]]])
def test_one_component_scores_the_largest_class(test):
    table = np.array(test)
    chance = chance_levels(table, table, table)
    assert astuple(chance) == pytest.approx((table.max() / table.sum(),) * 4)


def test_random_tables_keep_the_margins_and_empty_components():
    table = np.array([[3, 0, 2], [0, 0, 0], [1, 4, 0]])
    drawn = random_tables(table, 50, np.random.default_rng(0))
    assert (drawn.sum(axis=2) == table.sum(axis=1)).all()
    assert (drawn.sum(axis=1) == table.sum(axis=0)).all()
    assert len({draw.tobytes() for draw in drawn}) > 5
