"""Where halves of a collection agree on clusters no more than halves of noise do, that is said, and nothing refused."""

import numpy as np
import pytest
import torch
from numpy.random import default_rng

from pipeline.core.layout import Layout
from pipeline.onboarding.propose import propose_experiment
from pipeline.onboarding.reproducible import Reproducibility, judge_reproducibility


def _clusters(n: int, width: int) -> np.ndarray:
    rng = default_rng(0)
    return rng.normal(0, 6, (5, width))[rng.integers(0, 5, n)] + rng.normal(size=(n, width))


def _judged(rows: np.ndarray, numbers: tuple[int, int] = (4, 4)) -> Reproducibility:
    found = judge_reproducibility(torch.from_numpy(rows), numbers, "row")
    assert found is not None
    return found


@pytest.mark.parametrize("width", [3, 12])
def test_noise_is_no_more_reproducible_than_noise(width):
    found = _judged(default_rng(1).normal(size=(200, width)) * np.linspace(1, 3, width))
    assert not found.is_shown
    assert max(abs(np.subtract(found.stability, found.without_clusters))) < 0.2


@pytest.mark.parametrize("width", [2, 12])
def test_clusters_are_more_reproducible_than_noise(width):
    assert _judged(_clusters(200, width)).is_shown


@pytest.mark.parametrize(
    ("stability", "without_clusters", "is_shown"),
    [
        ((0.1, 0.9), (0.1, 0.3), True),
        ((0.9, 0.1), (0.3, 0.1), True),
        ((0.6, 0.1), (0.55, 0.1), False),  # directions are few, not clusters clear
        ((0.28, 0.2), (0.1, 0.1), False),  # the largest of many pairs is above others by chance
    ],
)
def test_a_facet_must_agree_well_and_more_than_without_clusters(stability, without_clusters, is_shown):
    assert Reproducibility("row", stability, without_clusters).is_shown == is_shown


def test_of_too_few_nothing_is_judged():
    assert judge_reproducibility(torch.randn(60, 4), (4, 4), "row") is None


@pytest.mark.parametrize("noun", ["row", "image"])
def test_a_proposal_says_that_nothing_is_reproducible_in_notes_and_section(tmp_path, noun):
    noise = default_rng(0).normal(size=(130, 12)) if noun == "row" else default_rng(0).integers(0, 256, (130, 6, 6))
    np.save(tmp_path / "x.npy", noise if noun == "row" else noise.astype(np.uint8))
    proposal = propose_experiment(Layout(tmp_path, "mine"), "x.npy", with_trials=True)
    (note,) = [note for note in proposal.notes if "reproducible" in note]
    assert note.startswith(f"nothing reproducible was found: halves of the {noun}s agree on clusters by 0.")
    lines = proposal.text.splitlines()
    said = f"    # Nothing reproducible was found: halves of the {noun}s agree on clusters by "
    assert [line for line in lines if line.startswith(said)]
    assert max(map(len, lines)) <= 120


def test_a_proposal_for_clusters_says_nothing_of_it(tmp_path):
    np.save(tmp_path / "x.npy", _clusters(130, 12))
    proposal = propose_experiment(Layout(tmp_path, "mine"), "x.npy", with_trials=True)
    assert "reproducible" not in proposal.text + "".join(proposal.notes)
