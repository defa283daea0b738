from itertools import pairwise, permutations

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from pipeline.model import MixtureView
from pipeline.report.projection import map_places, mean_distances, nearest_components, order_by_similarity


def clustered(
    n_dims: int = 6, n_components: int = 5, spread: float = 0.3
) -> tuple[np.ndarray, np.ndarray, MixtureView]:
    rng = np.random.default_rng(0)
    means = rng.normal(size=(n_components, n_dims))
    ids = np.arange(400) % n_components
    latents = means[ids] + rng.normal(0, spread, (400, n_dims)) * np.linspace(0.5, 2, n_dims)
    own = [np.cov(latents[ids == c].T, bias=True).reshape(n_dims, n_dims) for c in range(n_components)]
    found = np.stack([latents[ids == c].mean(axis=0) for c in range(n_components)])
    return latents, ids, MixtureView(np.full(n_components, 1 / n_components), found, np.stack(own))


def test_the_plane_is_that_of_linear_discriminant_analysis() -> None:
    latents, ids, mixture = clustered()
    ours = map_places(latents, mixture, ids)
    theirs = LinearDiscriminantAnalysis(solver="eigen", n_components=2).fit_transform(latents, ids)
    for axis in (0, 1):
        assert abs(np.corrcoef(ours[:, axis], theirs[:, axis])[0, 1]) > 0.999


def test_places_do_not_depend_on_the_order_of_images_or_components() -> None:
    latents, ids, mixture = clustered()
    shuffle, relabel = np.random.default_rng(1).permutation(400), np.array([3, 0, 4, 1, 2])
    moved = MixtureView(mixture.weights, mixture.means[np.argsort(relabel)], mixture.covariances[np.argsort(relabel)])
    again = map_places(latents[shuffle], moved, relabel[ids[shuffle]])
    np.testing.assert_allclose(again, map_places(latents, mixture, ids)[shuffle], atol=1e-8)


@pytest.mark.parametrize(
    ("n_dims", "n_components", "n_images"), [(1, 4, 20), (2, 1, 20), (5, 1, 20), (3, 4, 1), (4, 3, 0)]
)
def test_small_cases_have_finite_places(n_dims: int, n_components: int, n_images: int) -> None:
    latents, ids, mixture = clustered(n_dims, n_components)
    found = map_places(latents[:n_images], mixture, ids[:n_images])
    assert found.shape == (n_images, 2)
    assert np.isfinite(found).all()


def test_one_cluster_still_spreads_over_the_plane() -> None:
    latents, ids, mixture = clustered(5, 1)
    assert (map_places(latents, mixture, ids).std(axis=0) > 1e-3).all()


def test_distances_are_in_deviations_of_the_clusters() -> None:
    mixture = MixtureView(
        np.array([0.5, 0.5]), np.array([[0.0, 0.0], [3.0, 8.0]]), np.tile(np.diag([1.0, 4.0]), (2, 1, 1))
    )
    np.testing.assert_allclose(mean_distances(mixture), [[0, 5], [5, 0]], rtol=1e-4)


def test_nearest_components_hold_images_and_are_not_oneself() -> None:
    line = np.abs(np.subtract.outer(np.arange(5.0), np.arange(5.0)))
    found = nearest_components(line, np.array([1, 0, 1, 1, 1]), 2)
    assert found.tolist() == [[2, 3], [0, 2], [3, 0], [2, 4], [3, 2]]
    assert nearest_components(line[:1, :1], np.array([3]), 2).shape == (1, 0)
    assert nearest_components(line[:2, :2], np.array([0, 0]), 2).shape == (2, 0)


def test_a_line_of_components_is_found_again() -> None:
    places = np.random.default_rng(0).permutation(9).astype(float)
    order = order_by_similarity(np.abs(np.subtract.outer(places, places)))
    assert places[order].tolist() in (list(range(9)), list(range(8, -1, -1)))


def test_the_order_is_nearly_as_short_as_the_shortest() -> None:
    points = np.random.default_rng(3).normal(size=(7, 3))
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)

    def length(order: tuple[int, ...]) -> float:
        return sum(distances[a, b] for a, b in pairwise(order))

    best = min(length(order) for order in permutations(range(7)))
    found = order_by_similarity(distances)
    assert sorted(found.tolist()) == list(range(7))
    assert length(tuple(found)) <= 1.1 * best
