"""Collections in which there is too little to tell apart are refused when they are looked at."""

import numpy as np
import pytest
from numpy.random import default_rng

from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.onboarding.propose import propose_experiment


def _drawn(n_distinct: int, *shape: int) -> np.ndarray:
    """Return 300 arrays of pixels, each one of so many."""
    rng = default_rng(0)
    return rng.integers(0, 256, (n_distinct, *shape), np.uint8)[np.arange(300) % n_distinct]


@pytest.mark.parametrize(("n_distinct", "got"), [(1, "1 different one"), (2, "2 different ones")])
@pytest.mark.parametrize("noun", ["image", "row"])
def test_a_collection_of_nearly_nothing_but_copies_is_refused_alike(tmp_path, noun, n_distinct, got):
    collection = _drawn(n_distinct, 8, 8) if noun == "image" else _drawn(n_distinct, 8) / 7
    np.save(tmp_path / "x.npy", collection)
    expected = rf"x\.npy must hold at least 10 {noun}s that differ, got {got} among the 300 looked at, as"
    with pytest.raises(DataError, match=expected):
        propose_experiment(Layout(tmp_path, "mine"), "x.npy")


@pytest.mark.parametrize("n_distinct", [10, 300])
def test_rows_that_differ_are_proposed_for(tmp_path, n_distinct):
    np.save(tmp_path / "x.npy", _drawn(n_distinct, 8) / 7)
    assert "# 300 rows of 8 numbers" in propose_experiment(Layout(tmp_path, "mine"), "x.npy").text


def test_too_few_rows_are_refused_as_too_few_images_are(tmp_path):
    rows = _drawn(300, 8) / 7
    rows[19:] = np.nan
    np.save(tmp_path / "x.npy", rows)
    with pytest.raises(DataError, match=r"x\.npy must hold at least 20 usable rows, got 19; add some"):
        propose_experiment(Layout(tmp_path, "mine"), "x.npy")


def test_rows_none_of_which_is_usable_are_refused_with_the_reason(tmp_path):
    np.save(tmp_path / "x.npy", np.full((300, 8), np.nan))
    with pytest.raises(DataError, match=r"must hold usable rows, got none \(300 of 300 set aside: 300 × holds NaN"):
        propose_experiment(Layout(tmp_path, "mine"), "x.npy")
