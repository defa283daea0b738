import numpy as np
import pytest

from pipeline.core.records import FacetAssignment
from pipeline.report import selection


def facet(cluster_id: list[int], confidence: list[float], typicality: list[float] | None = None) -> FacetAssignment:
    n = len(cluster_id)
    return FacetAssignment(
        cluster_id=np.array(cluster_id, np.int32),
        confidence=np.array(confidence, np.float32),
        entropy=np.zeros(n, np.float32),
        typicality=np.array(typicality or [0.0] * n, np.float32),
        runner_up=np.zeros(n, np.int32),
        runner_up_confidence=np.zeros(n, np.float32),
        resp=None,
    )


SIX = facet([0, 2, 0, 2, 0, 2], [0.5, 0.9, 1.0, 0.9, 1.0, 0.2], [1, 1, 2, 3, 4, 1])


def test_surest_members_come_first_and_ties_by_typicality() -> None:
    found = selection.surest_members(SIX, 3, 2)
    assert [chosen.tolist() for chosen in found] == [[4, 2], [], [3, 1]]


def test_borderline_members_are_the_least_sure() -> None:
    found = selection.borderline_members(SIX, 3, 2)
    assert [chosen.tolist() for chosen in found] == [[0, 2], [], [5, 1]]


def test_lowest_values_keep_the_order_of_equal_ones() -> None:
    assert selection.lowest(np.array([3.0, 1.0, 2.0, 1.0], np.float32), 3).tolist() == [1, 3, 2]
    assert selection.lowest(np.array([3.0], np.float32), 3).tolist() == [0]


def test_random_images_are_distinct_sorted_and_repeatable() -> None:
    found = selection.random_images(100, 30, np.random.default_rng(1))
    assert (np.diff(found) > 0).all()
    assert found.tolist() == selection.random_images(100, 30, np.random.default_rng(1)).tolist()
    assert selection.random_images(5, 30, np.random.default_rng(1)).tolist() == [0, 1, 2, 3, 4]


def test_components_go_by_the_mean_confidence_of_test_members() -> None:
    # Component 0: test mean 0.6; 1: test mean 0.8 though its training member is unsure; 2: training only; 3: empty.
    given = facet([0, 0, 1, 1, 2], [1.0, 0.6, 0.1, 0.8, 0.99])
    is_test = np.array([False, True, False, True, False])
    assert selection.order_by_confidence(given, is_test, 4).tolist() == [1, 0, 2, 3]


def test_mean_confidence_of_an_empty_component_is_not_a_number() -> None:
    found = selection.mean_confidence(SIX, 3)
    np.testing.assert_allclose(found, [2.5 / 3, np.nan, 2.0 / 3], rtol=1e-6)


def test_a_histogram_counts_every_member_once() -> None:
    found = selection.confidence_histogram(facet([0, 0, 1, 1], [0.0, 1.0, 0.55, 0.95]), 3)
    assert found.tolist() == [[1, 0, 0, 0, 0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 1, 0, 0, 0, 1], [0] * 10]


def test_cross_examples_are_surest_of_both_facets() -> None:
    first, second = facet([0, 0, 1, 0], [0.9, 0.8, 0.7, 0.8]), facet([1, 1, 0, 1], [0.5, 0.9, 0.7, 0.9], [0, 1, 0, 2])
    # Images 1 and 3 are equally sure (0.72); 3 is the more typical.
    assert selection.cross_examples(first, second, (2, 3)).tolist() == [[-1, 3, -1], [2, -1, -1]]


def test_the_largest_components_leave_out_empty_ones() -> None:
    assert selection.largest_components(np.array([2, 0, 5, 2]), 3).tolist() == [2, 0, 3]
    assert selection.largest_components(np.array([2, 0, 5, 2]), 2).tolist() == [2, 0]
    assert selection.largest_components(np.array([0, 0]), 2).tolist() == []


def test_diverse_images_see_new_clusters_before_old_ones() -> None:
    ids = [[0, 0, 0, 1, 1, 2], [0, 1, 0, 1, 0, 2]]
    facets = [facet(each, [0.9] * 6) for each in ids]
    chosen = selection.diverse_images(facets, np.arange(6), 3)
    for each in ids:
        assert {each[image] for image in chosen} == {0, 1, 2}
    assert len(selection.diverse_images(facets, np.arange(6), 20)) == 6


def test_diverse_images_avoid_unsure_ones() -> None:
    facets = [facet([0, 1, 1], [0.9, 0.3, 0.9])]
    assert selection.diverse_images(facets, np.arange(3), 3).tolist() == [2, 0, 1]


@pytest.mark.parametrize("n_chosen", [1, 4])
def test_nothing_to_choose_from_gives_nothing(n_chosen: int) -> None:
    empty = facet([], [])
    assert selection.surest_members(empty, 2, n_chosen)[1].tolist() == []
    assert selection.diverse_images([empty], np.empty(0, np.int64), n_chosen).tolist() == []
    assert selection.cross_examples(empty, empty, (2, 2)).tolist() == [[-1, -1], [-1, -1]]
