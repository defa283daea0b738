"""What hints say of directions: against a discriminant analysis, sums over pairs, and rows of known properties."""

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from pipeline.core.hints import HintPair, Hints, collect_hints
from pipeline.mixture import HintedRows, learn_directions
from pipeline.model.residual_directions import ResidualDirections

N_ROWS, N_NUMBERS, N_FACETS = 120, 6, 2


def some_rows(seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(N_ROWS, N_NUMBERS)))


def hints_of(facet: int, labels: np.ndarray, pairs: tuple[HintPair, ...] = ()) -> Hints:
    table = np.full((N_ROWS, N_FACETS), -1)
    table[:, facet] = labels
    return collect_hints(table, pairs)


def among_all(hints: Hints) -> HintedRows:
    return HintedRows(hints, hints.rows)


def test_rows_of_one_label_vary_as_in_a_discriminant_analysis() -> None:
    labels = np.where(np.arange(N_ROWS) < 30, np.arange(N_ROWS) % 3, -1)
    rows = some_rows() + 3.0 * torch.from_numpy(np.eye(N_NUMBERS)[labels])
    (found,) = among_all(hints_of(1, labels)).scatters(rows).values()
    known = labels >= 0
    analysis = LinearDiscriminantAnalysis(solver="eigen", store_covariance=True).fit(rows[known], labels[known])
    np.testing.assert_allclose(found.within, analysis.covariance_ * 30 / (30 - 3), rtol=1e-10)
    np.testing.assert_allclose(found.between, np.cov(analysis.means_.T), rtol=1e-10)


def test_of_pairs_the_scatters_are_sums_over_pairs() -> None:
    same, different = [(0, 1), (1, 2), (5, 6)], [(0, 5), (2, 9), (11, 14)]
    pairs = [HintPair(*two, 0, True) for two in same] + [HintPair(*two, 0, False) for two in different]
    rows = some_rows()
    (found,) = among_all(hints_of(0, np.full(N_ROWS, -1), tuple(pairs))).scatters(rows).values()
    numbers = rows.numpy()
    sets = [(0, 1, 2), (5, 6)]
    inside = [numbers[list(one)] - numbers[list(one)].mean(0) for one in sets]
    within = sum(each.T @ each for each in inside) / (2 + 1)
    means = {row: numbers[list(one)].mean(0) for one in [*sets, (9,), (11,), (14,)] for row in one}
    apart = [means[a] - means[b] for a, b in [(0, 5), (2, 9), (11, 14)]]
    np.testing.assert_allclose(found.within, within, rtol=1e-10)
    np.testing.assert_allclose(found.between, sum(np.outer(one, one) for one in apart) / (2 * 3), rtol=1e-10)


def test_same_pairs_alone_say_nothing_of_what_differs() -> None:
    pairs = (HintPair(3, 4, 0, True),)
    (found,) = among_all(hints_of(0, np.full(N_ROWS, -1), pairs)).scatters(some_rows()).values()
    assert found.between is None
    apart = tuple(HintPair(*one, 0, False) for one in [(3, 4)])
    (found,) = among_all(hints_of(0, np.full(N_ROWS, -1), apart)).scatters(some_rows()).values()
    assert not found.within.any()


def rows_of_two_properties(seed: int = 0) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Three kinds far apart in two numbers, three manners nearer to each other in two others, and noise."""
    generator = np.random.default_rng(seed)
    kind, manner = generator.integers(3, size=(2, N_ROWS))
    corners = np.array([[1.0, 0.0], [-0.5, 0.87], [-0.5, -0.87]])
    rows = 0.3 * generator.standard_normal((N_ROWS, N_NUMBERS))
    rows[:, :2] += 4.0 * corners[kind]
    rows[:, 2:4] += 2.0 * corners[manner]
    return torch.from_numpy(rows), kind, manner


def read_by(rows: torch.Tensor, hints: Hints | None) -> list[np.ndarray]:
    directions = ResidualDirections(1, N_NUMBERS, (3, 3), (2, 2)).double()
    learn_directions(directions, rows, 0, 0, None if hints is None else among_all(hints))
    return [read[0].numpy() for read in directions(rows[None])]


def explained(read: np.ndarray, labels: np.ndarray) -> float:
    """Return the part of the variance of what is read that lies between classes."""
    means = np.stack([read[labels == c].mean(0) for c in range(3)])[labels]
    return float(means.var(0).sum() / read.var(0).sum())


def few(labels: np.ndarray) -> np.ndarray:
    """Return four labels of each class, -1 elsewhere."""
    known = np.concatenate([np.flatnonzero(labels == c)[:4] for c in range(3)])
    return np.where(np.isin(np.arange(N_ROWS), known), labels, -1)


@pytest.mark.parametrize("facet", [0, 1])
def test_a_facet_reads_what_its_hints_are_about_and_the_other_one_reads_the_rest(facet: int) -> None:
    rows, kind, manner = rows_of_two_properties()
    unhinted = read_by(rows, None)
    assert explained(unhinted[1], kind) > 0.9  # what is large comes first, unless a person says otherwise
    told = manner if facet == 1 else kind
    other = kind if facet == 1 else manner
    read = read_by(rows, hints_of(facet, few(told)))
    assert explained(read[facet], told) > 0.9
    assert explained(read[1 - facet], other) > 0.75  # beside what its other directions hold
    assert explained(read[1 - facet], told) < 0.2


def test_rows_may_be_learned_from_beside_which_hinted_ones_stand() -> None:
    """Hinted rows are found by their places, wherever the rest comes from."""
    rows, _, manner = rows_of_two_properties()
    hints = hints_of(1, few(manner))
    order = np.random.default_rng(1).permutation(N_ROWS)
    moved = HintedRows(hints, np.argsort(order)[hints.rows])
    for facet, found in among_all(hints).scatters(rows).items():
        again = moved.scatters(rows[torch.from_numpy(order)])[facet]
        np.testing.assert_allclose(again.within, found.within)
        np.testing.assert_allclose(again.between, found.between)
