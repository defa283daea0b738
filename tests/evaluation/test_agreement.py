from dataclasses import replace

import numpy as np
import pytest

from pipeline.evaluation.agreement import Clustering, agreement, correct_images, tables
from pipeline.evaluation.labels import Factor

FACTOR = Factor(train=np.array([0, 0, 1, 1, 1, -1]), test=np.array([0, 1, 1, -1, 0]), values=np.array([3, 8]))
CLUSTERS = Clustering(train=np.array([0, 0, 0, 1, 1, 1]), test=np.array([0, 0, 1, 1, 2]), n_components=3)


def test_by_hand():
    # training: component 0 -> class 0 (2:1), 1 -> class 1; 2 is empty -> class 1, the more frequent one.
    np.testing.assert_array_equal(correct_images(CLUSTERS, FACTOR), [True, False, True, False])
    found = agreement(CLUSTERS, FACTOR)
    assert found.accuracy == 2 / 4
    assert found.accuracy_same_split == 3 / 4
    assert found.accuracy_same_split_train == 4 / 5
    assert found.hungarian == 2 / 4  # of three components one has no class
    assert 0 < found.chance.hungarian < 1


def test_all_numbers_but_the_papers_are_of_the_published_clusters():
    perfect = Clustering(train=np.where(FACTOR.train > 0, 1, 0), test=np.where(FACTOR.test > 0, 1, 0), n_components=3)
    mixed, published = agreement(CLUSTERS, FACTOR, perfect), agreement(CLUSTERS, FACTOR)
    assert mixed.accuracy_paper == 1.0
    assert published.accuracy_paper == published.accuracy_same_split
    chance = replace(published.chance, accuracy_paper=mixed.chance.accuracy_paper)
    assert mixed == replace(published, accuracy_paper=1.0, chance=chance)
    alone = agreement(perfect, FACTOR)
    assert (alone.accuracy, alone.hungarian, alone.nmi, alone.ari) == pytest.approx((1, 1, 1, 1))


def test_accuracy_is_the_part_of_correct_images():
    rng = np.random.default_rng(0)
    factor = Factor(rng.integers(-1, 4, 200), rng.integers(-1, 4, 100), np.arange(4))
    clusters = Clustering(rng.integers(0, 7, 200), rng.integers(0, 7, 100), 7)
    assert agreement(clusters, factor).accuracy == correct_images(clusters, factor).mean()
    train, test = tables(clusters, factor)
    assert (train.sum(), test.sum()) == ((factor.train >= 0).sum(), (factor.test >= 0).sum())
