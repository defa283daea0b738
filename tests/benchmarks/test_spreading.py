"""Labels that spread along look-alikes: exact shares, and only as far as the labelled images confirm it."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.neighbors import kneighbors_graph

from benchmarks.spreading import (
    N_NEIGHBOURS,
    UNKNOWN,
    lookalike_graph,
    principal_components,
    reach,
    shares_by_others,
    spread_labels,
)

CLASSES, EACH = 4, 40


def four_kinds() -> tuple[np.ndarray, np.ndarray]:
    """Return points along four lines, and which line each is of."""
    rng = np.random.default_rng(0)
    kinds = np.repeat(np.arange(CLASSES), EACH)
    points = rng.normal(0, 0.1, (len(kinds), 6))
    points[np.arange(len(kinds)), kinds] += rng.uniform(1, 4, len(kinds))
    return points.astype(np.float32), kinds


def some(kinds: np.ndarray, n_each: int) -> np.ndarray:
    labels = np.full(len(kinds), UNKNOWN)
    for kind in np.unique(kinds):
        rows = np.flatnonzero(kinds == kind)
        labels[rows[:: len(rows) // n_each][:n_each]] = kind
    return labels


def test_images_take_the_label_of_what_they_look_like() -> None:
    points, kinds = four_kinds()
    labels = some(kinds, 4)
    spread = spread_labels(labels, lookalike_graph(points))
    taken = (spread != UNKNOWN) & (labels == UNKNOWN)
    assert 0.6 * 144 < taken.sum() <= 0.75 * 144 + 1
    np.testing.assert_array_equal(spread[taken], kinds[taken])
    np.testing.assert_array_equal(spread[labels != UNKNOWN], labels[labels != UNKNOWN])


def test_nothing_spreads_where_neighbours_do_not_share_the_label() -> None:
    points, kinds = four_kinds()
    labels = some(np.random.default_rng(1).permutation(kinds), 10)
    np.testing.assert_array_equal(spread_labels(labels, lookalike_graph(points)), labels)


@pytest.mark.parametrize("n_each", [1, 3, 4])
def test_nothing_spreads_from_fewer_than_eight_that_others_can_judge(n_each: int) -> None:
    points, kinds = four_kinds()
    points, kinds = points[: 2 * EACH], kinds[: 2 * EACH]
    labels = some(kinds, n_each)
    spread = spread_labels(labels, lookalike_graph(points))
    assert bool((spread != labels).any()) == (2 * n_each >= 8)


def test_a_labelled_image_is_judged_as_though_it_had_no_label() -> None:
    """By solving anew without each label, one after the other."""
    points, kinds = four_kinds()
    labels, graph = some(kinds, 3), lookalike_graph(points)
    given = np.flatnonzero(labels != UNKNOWN)
    inverse = np.linalg.inv(np.eye(len(kinds)) - 0.99 * graph.toarray())
    share = np.stack([inverse[:, labels == kind].mean(1) for kind in range(CLASSES)], 1)
    found = shares_by_others(share, given, labels[given], np.full(CLASSES, 3), graph)
    for place, row in enumerate(given):
        without = np.where(np.arange(len(kinds)) == row, UNKNOWN, labels)
        expected = [inverse[row, without == kind].mean() for kind in range(CLASSES)]
        np.testing.assert_allclose(found[place], expected, rtol=1e-3, atol=1e-6)


def test_what_reaches_an_image_solves_the_equation() -> None:
    rng = np.random.default_rng(0)
    graph = lookalike_graph(rng.normal(size=(60, 3)).astype(np.float32))
    start = rng.random((60, 5)) * (rng.random((60, 5)) < 0.1)
    start[:, 4] = 0
    expected = np.linalg.solve(np.eye(60) - 0.99 * graph.toarray(), start)
    np.testing.assert_allclose(reach(graph, start), expected, rtol=1e-4, atol=1e-6)


def test_the_graph_has_the_weights_of_its_definition_and_no_eigenvalue_above_one() -> None:
    points = np.random.default_rng(0).normal(size=(80, 5)).astype(np.float32)
    distance = kneighbors_graph(points, N_NEIGHBOURS, mode="distance").toarray()
    directed = np.where(distance > 0, np.exp(-((distance / distance.max(1, keepdims=True)) ** 2)), 0)
    weights = np.maximum(directed, directed.T)
    sums = weights.sum(1)
    graph = lookalike_graph(points).toarray()
    np.testing.assert_allclose(graph, weights / np.sqrt(np.outer(sums, sums)), rtol=1e-3, atol=1e-6)
    assert np.linalg.eigvalsh(graph).max() == pytest.approx(1, abs=1e-6)


def test_components_are_those_of_scikit_learn() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (120, 12, 12))
    pixels[:60, :4] //= 4  # some directions vary more than others
    found = principal_components(pixels)
    expected = PCA(40, svd_solver="full").fit_transform(pixels.reshape(120, -1).astype(float))
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, rtol=1e-2, atol=5.0)
