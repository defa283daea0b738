"""The number of facets of rows whose properties are known."""

import numpy as np
import pytest
import torch

from pipeline.onboarding import propose
from pipeline.onboarding.number_of_facets import LEAST_PRESENCE, FacetNumber, number_of_facets
from pipeline.onboarding.walks import Walks

N_ROWS = 500


def circle(generator: np.random.Generator, n_values: int = 8) -> tuple[np.ndarray, np.ndarray]:
    value = generator.integers(n_values, size=N_ROWS)
    angle = 2 * np.pi * value / n_values
    return value, np.stack([np.cos(angle), np.sin(angle)], axis=1)


def noisy(parts: list[np.ndarray], generator: np.random.Generator) -> torch.Tensor:
    """Place parts in directions of their own among others, turned about, so that no number has one property."""
    rows = np.hstack([*parts, np.zeros((N_ROWS, 12))])
    turn = np.linalg.qr(generator.standard_normal((rows.shape[1], rows.shape[1])))[0]
    return torch.from_numpy((rows + generator.normal(0, 0.02, rows.shape)) @ turn).float()


def told(clusters: np.ndarray, value: np.ndarray) -> float:
    """Part of the rows that have the most frequent value of their cluster."""
    return sum(np.bincount(value[clusters == one]).max() for one in np.unique(clusters)) / len(value)


def test_a_circle_is_one_facet() -> None:
    generator = np.random.default_rng(0)
    found = number_of_facets(noisy([circle(generator)[1]], generator), 0)
    assert (found.n_facets, found.clusters) == (1, ())
    assert found.presence[0] < LEAST_PRESENCE


def test_two_circles_are_two_facets_and_each_has_its_clusters() -> None:
    generator = np.random.default_rng(0)
    (first, large), (second, small) = circle(generator), circle(generator)
    found = number_of_facets(noisy([large, 0.4 * small], generator), 0)
    assert found.n_facets == 2
    assert found.presence[0] > LEAST_PRESENCE > found.presence[1]
    purity = np.array([[told(clusters, value) for value in (first, second)] for clusters in found.clusters])
    assert sorted(purity.argmax(axis=1)) == [0, 1]
    assert purity.max(axis=1).min() > 0.7
    assert purity.min(axis=1).max() < 0.3


def test_properties_that_multiply_are_two_facets() -> None:
    generator = np.random.default_rng(0)
    shape = np.random.default_rng(1).uniform(0.2, 1, (4, 5))[generator.integers(4, size=N_ROWS)]
    colour = np.hstack([circle(generator)[1], np.ones((N_ROWS, 1))])
    pixels = (shape[:, :, None] * colour[:, None]).reshape(N_ROWS, -1)
    assert number_of_facets(noisy([pixels], generator), 0).n_facets == 2


def test_three_circles_are_three_facets() -> None:
    generator = np.random.default_rng(0)
    found = number_of_facets(noisy([size * circle(generator, 5)[1] for size in (1.0, 0.8, 0.6)], generator), 0)
    assert found.n_facets == len(found.clusters) == 3
    assert min(found.presence) > LEAST_PRESENCE
    assert f"keep each (by {found.presence[0]:.2f} and {found.presence[1]:.2f}; 1 is wholly" in found.note


@pytest.mark.parametrize("n_rows", [20, 300])
def test_noise_is_one_facet(n_rows: int) -> None:
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal((n_rows, 30))).float()
    assert number_of_facets(noise, 0).n_facets == 1


def test_rows_that_are_all_the_same_are_one_facet() -> None:
    assert number_of_facets(torch.ones(50, 4), 0).n_facets == 1


def test_the_same_state_finds_the_same() -> None:
    generator = np.random.default_rng(0)
    rows = noisy([circle(generator)[1], circle(generator)[1]], generator)
    first, second = (number_of_facets(rows, 3) for _ in range(2))
    assert first.presence == second.presence
    assert all(np.array_equal(a, b) for a, b in zip(first.clusters, second.clusters, strict=True))


def test_walks_change_what_they_are_told_to_and_keep_the_rest() -> None:
    changed, kept = (value.ravel() for value in np.meshgrid(np.repeat(np.arange(4), 2), np.arange(5)))
    rows = np.stack([3.0 * changed, kept], axis=1).astype(np.float32)
    distances = ((rows[:, None] - rows) ** 2).sum(axis=2)
    walks = Walks.between(rows, distances, changed)
    generator = np.random.RandomState(0)
    ends, able = walks.ends(generator)
    assert able.all()
    assert np.array_equal(kept[ends], kept)
    start, end = walks.returns(generator)
    assert np.array_equal(changed[end], changed[start])
    assert np.array_equal(kept[end], kept[start])
    assert np.allclose(walks.kept(generator, 2)[:, 1], kept - kept.mean())


@pytest.mark.parametrize(("n_facets", "is_told"), [(1, False), (2, False), (3, True)])
def test_a_proposal_says_where_there_are_more_facets_than_it_has(
    n_facets: int, is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = FacetNumber(n_facets, (0.9, 0.8), ())
    monkeypatch.setattr(propose, "number_of_facets", lambda rows, random_state: found)
    pixels = np.zeros((4, 1, 2, 2), np.uint8)
    assert propose._more_facets(pixels, (4, 10)) == ([found.note] if is_told else [])
