"""Numbers of clusters of two facets, by the stability of what halves of the rows find."""

import numpy as np
import pytest
import torch

from pipeline.onboarding import number_of_clusters
from pipeline.onboarding.number_of_clusters import ClusterNumbers, best_numbers, candidates_of, compare_numbers


def rows_of(n_deep: int, n_shallow: int, n_rows: int = 600) -> torch.Tensor:
    """Classes of two properties, far apart and less far, in directions of their own; noise in two more."""
    generator = np.random.default_rng(0)
    deep, shallow = generator.integers(n_deep, size=n_rows), generator.integers(n_shallow, size=n_rows)
    noise = generator.normal(0, 0.3, (n_rows, n_deep + n_shallow + 2))
    return torch.from_numpy(
        noise + np.hstack([8 * np.eye(n_deep)[deep], 4 * np.eye(n_shallow)[shallow], np.zeros((n_rows, 2))])
    )


@pytest.mark.parametrize(("n_deep", "n_shallow"), [(4, 8), (6, 4)])
def test_the_numbers_of_classes_are_found_in_both_facets(
    n_deep: int, n_shallow: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(number_of_clusters, "CANDIDATES", (4, 6, 8))
    compared = list(compare_numbers(rows_of(n_deep, n_shallow), 15, 0, 20))
    assert len(compared) == 9
    best = best_numbers(compared, 0.4)
    assert best.n_components == (n_shallow, n_deep)
    assert min(best.stability) > 0.9


def test_noise_is_stable_in_no_number() -> None:
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal((400, 10)))
    compared = list(compare_numbers(noise, 15, 0, 60))
    assert {one.n_components for one in compared} == {(4, 4), (4, 6), (6, 4), (6, 6)}
    assert max(one.score for one in compared) < 0.3


def test_the_same_state_finds_the_same() -> None:
    rows = rows_of(4, 4, 80)
    assert list(compare_numbers(rows, 15, 3, 20)) == list(compare_numbers(rows, 15, 3, 20))


@pytest.mark.parametrize(("n_rows", "expected"), [(5, (4,)), (119, (4,)), (120, (4, 6)), (400, (4, 6, 8, 10, 15, 20))])
def test_clusters_have_twenty_rows_on_average(n_rows: int, expected: tuple[int, ...]) -> None:
    assert candidates_of(n_rows, 20) == expected


def test_a_cluster_of_most_rows_counts_only_where_all_have_one() -> None:
    stable, balanced = ClusterNumbers((4, 4), (0.9, 0.9), 0.7), ClusterNumbers((8, 4), (0.6, 0.7), 0.3)
    assert best_numbers([stable, balanced], 0.4) == balanced
    assert best_numbers([stable], 0.4) == stable
