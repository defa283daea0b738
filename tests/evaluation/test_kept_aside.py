"""Pairs of kept-aside images, counted one by one; what chance would give, over all deals."""

from itertools import combinations, permutations

import numpy as np
import pytest

from pipeline.core.groups import FacetGroups, MergeTree, ModelGroups
from pipeline.core.hint_words import describe_help
from pipeline.datasets.store.hints import PreparedHints, no_hints, write_prepared_hints
from pipeline.evaluation import score_models
from pipeline.evaluation.agreement import Clustering
from pipeline.evaluation.kept_aside import judge_hints, judge_pairs
from tests.evaluation.known import write_prepared
from tests.evaluation.test_labels import IMAGES, factors_of
from tests.evaluation.trained import SCORE, experiment


def random_hints(rng, n=40, n_train=60, n_test=24):
    """Labels of some images in two facets, and pairs of any."""
    is_test = np.arange(n) >= n - 10
    rows = np.concatenate([np.sort(rng.choice(n_train, n - 10, False)), np.sort(rng.choice(n_test, 10, False))])
    labels = [(image, facet, int(rng.integers(4))) for image in range(n) for facet in (0, 1) if rng.random() < 0.6]
    two = rng.permutation(np.array(list(combinations(range(n), 2))))[:30]
    pairs = np.column_stack([two, rng.integers(0, 2, 30), rng.integers(0, 2, 30)])
    return PreparedHints(rows, is_test, is_test | (rng.random(n) < 0.5), np.array(labels), pairs)


def random_clustering(rng, n_components=5):
    return Clustering(rng.integers(0, n_components, 60), rng.integers(0, n_components, 24), n_components)


@pytest.mark.parametrize("seed", range(5))
def test_pairs_are_judged_as_if_one_by_one(seed):
    rng = np.random.default_rng(seed)
    hints, clusters = random_hints(rng), random_clustering(rng)
    for facet in (0, 1):
        label = {image: label for image, of, label in hints.labels.tolist() if of == facet}
        told = {(a, b): bool(same) for a, b, of, same in hints.pairs.tolist() if of == facet}
        counts = {(same, right): 0 for same in (True, False) for right in (True, False)}
        cluster = [
            (clusters.test if test else clusters.train)[row]
            for row, test in zip(hints.rows, hints.is_test, strict=True)
        ]
        for a, b in combinations(range(len(hints.rows)), 2):
            is_same = label[a] == label[b] if a in label and b in label else told.get((a, b))
            if is_same is not None:
                counts[is_same, bool((cluster[a] == cluster[b]) == is_same)] += 1
        judged = judge_pairs(hints, facet, clusters)
        assert (judged.same, judged.same_right) == (counts[True, True] + counts[True, False], counts[True, True])
        assert judged.different == counts[False, True] + counts[False, False]
        assert judged.different_right == counts[False, True]


def test_chance_is_the_mean_over_all_deals_of_the_images_to_the_clusters():
    clusters = [0, 0, 0, 1, 1, 2]
    labels = np.array([(0, 0, 0), (1, 0, 0), (2, 0, 1), (3, 0, 2)])
    hints = PreparedHints(np.array([0, 1, 3, 0]), np.arange(4) == 3, np.ones(4, bool), labels, np.empty((0, 4), int))
    right = []
    for deal in permutations(clusters):
        judged = judge_pairs(hints, 0, Clustering(np.array(deal[:4]), np.array(deal[4:]), 3))
        right.append(judged.same_right + judged.different_right)
    assert judged.chance == pytest.approx(np.mean(right))


def test_only_what_was_kept_aside_is_judged_and_groups_beside_clusters():
    rng = np.random.default_rng(1)
    hints, clusters = random_hints(rng), [random_clustering(rng), random_clustering(rng)]
    tree = MergeTree(((0, 1), (2, 5), (3, 6), (4, 7)), (0.1, 0.2, 0.3, 0.9))
    facet = FacetGroups(2, 0.9, (0, 0, 0, 0, 1), (0.8, 0.2), tree, 0.5)
    found = judge_hints(hints, clusters, ModelGroups("seeds", 1, 84, (facet, facet)))
    aside = hints.among(hints.is_aside)
    assert found["facet_1"]["kept_aside"] == len(aside.hinted(1)) < len(hints.hinted(1))
    assert found["facet_1"]["clusters"]["same"] == judge_pairs(aside, 1, clusters[1]).same
    joined = Clustering((clusters[1].train == 4).astype(int), (clusters[1].test == 4).astype(int), 2)
    assert found["facet_1"]["groups"]["same_right"] == judge_pairs(aside, 1, joined).same_right
    assert judge_hints(no_hints(), clusters, None) == {}
    assert "groups" not in judge_hints(hints, clusters, None)["facet_0"]


def test_labels_of_hinted_images_count_as_unknown(tmp_path):
    write_prepared(tmp_path, IMAGES, {"shape": {"train": [4, 5, 6], "test": [5, 6]}})
    hints = PreparedHints(
        np.array([2, 0]),
        np.array([False, True]),
        np.array([False, True]),
        np.array([(0, 0, 0)]),
        np.array([(0, 1, 0, 1)]),
    )
    whole, without = factors_of(tmp_path), factors_of(tmp_path, hints)
    assert whole["shape"].train.tolist() == [0, 1, 2]
    assert without["shape"].values.tolist() == [4, 5, 6]
    assert without["shape"].train.tolist() == [0, 1, -1]
    assert without["shape"].test.tolist() == [-1, 2]


def test_scores_leave_hinted_images_out_and_have_the_pairs(tmp_path):
    layout = experiment(tmp_path, "two", (4, 3), (1, 4, 4))
    before = score_models(layout.artifact("model"), layout.prepared, SCORE).metrics
    assert before["hints"] == {}
    rows, is_test = np.array([*range(30), *range(12)]), np.arange(42) >= 30
    labels = np.array([(image, 1, image % 3) for image in range(42)])
    write_prepared_hints(layout.prepared, PreparedHints(rows, is_test, is_test, labels, np.empty((0, 4), int)))
    score = score_models(layout.artifact("model"), layout.prepared, SCORE)
    assert score.metrics["hints"]["facet_1"]["kept_aside"] == 12
    pairs = score.metrics["hints"]["facet_1"]["clusters"]
    assert (pairs["same"], pairs["different"]) == (18, 48)
    assert (score.factors["digit"].test >= 0).sum() == 12
    assert (score.factors["digit"].train >= 0).sum() == 30
    assert (
        score.metrics["selected"]["facets"]["facet_0"]["factors"] != before["selected"]["facets"]["facet_0"]["factors"]
    )


JUDGED = {"same": 10, "same_right": 8, "different": 20, "different_right": 19, "chance": 17.4}


@pytest.mark.parametrize(
    ("counts", "judged", "words"),
    [
        ({"trained": 0, "kept_aside": 0}, None, None),
        (
            {"trained": 20, "kept_aside": 1},
            None,
            "hints on 20 images. No two images are kept aside of which something is",
        ),
        (
            {"trained": 20, "kept_aside": 9},
            {"kept_aside": 9, "clusters": JUDGED},
            "Of 30 pairs of 9 images that were kept aside, by clusters 27 come out right (8 of 10 that are the same, "
            "19 of 20 that are different; chance 17).",
        ),
        (
            {"trained": 0, "kept_aside": 9},
            {"kept_aside": 9, "clusters": JUDGED, "groups": {**JUDGED, "different": 0, "different_right": 0}},
            "all hints on it were kept aside. Of 30 pairs of 9 images that were kept aside, by clusters 27 come out "
            "right (8 of 10 that are the same, 19 of 20 that are different; chance 17); by groups 8 come out right (8",
        ),
    ],
)
def test_the_same_in_words(counts, judged, words):
    (said,) = describe_help([counts], {} if judged is None else {"facet_0": judged})
    assert said == words if words is None else said is not None and words in said
