"""What the benchmark of asking tells a model."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.ask import as_pairs
from pipeline.core.hints import HintPair, collect_hints


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12))
def test_pairs_say_what_labels_say(seed: int, n_hinted: int) -> None:
    """Between any two hinted images; also of a class that has one image."""
    rng = np.random.default_rng(seed)
    rows, labels = rng.permutation(30)[:n_hinted], rng.integers(0, 5, n_hinted)
    table = np.full((30, 1), -1)
    table[rows, 0] = labels
    known = collect_hints(table)
    pairs = [HintPair(one, other, 0, same) for one, other, same in as_pairs(rows, labels)]
    if n_hinted == 1:
        assert pairs == []
        return
    told = collect_hints(np.full((30, 1), -1), pairs)
    np.testing.assert_array_equal(told.rows, known.rows)
    relation = [hints.relations[0][np.ix_(hints.chunklets[0], hints.chunklets[0])] for hints in (told, known)]
    np.testing.assert_array_equal(*relation)
