"""Labels and pairs as one relation: against every pair spelled out."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core import hints as hints_module
from pipeline.core.hints import DIFFERENT, SAME, UNKNOWN, HintPair, collect_hints

N = 8
Pairs = list[tuple[int, int, bool]]


def labels_of(*facets):
    return np.array(facets).T


def relation_of(hints, facet):
    """Return what is known of every pair of hinted images, by row."""
    chunklet = hints.chunklets[facet]
    return {
        (a, b): int(hints.relations[facet][chunklet[i], chunklet[k]])
        for (i, a), (k, b) in combinations(enumerate(hints.rows.tolist()), 2)
    }


def spelled_out(labels, pairs: Pairs):
    """Return all that follows from labels and pairs, by passing it on until nothing changes; None if it contradicts."""
    same = {(a, a) for a in range(N)}
    same |= {(a, b) for a in range(N) for b in range(N) if labels[a] == labels[b] >= 0}
    same |= {ends for a, b, is_same in pairs if is_same for ends in ((a, b), (b, a))}
    different = {(a, b) for a in range(N) for b in range(N) if labels[a] >= 0 <= labels[b] != labels[a]}
    different |= {ends for a, b, is_same in pairs if not is_same for ends in ((a, b), (b, a))}
    while True:
        more = {(a, d) for a, b in same for c, d in same if b == c}
        apart = {(a, d) for a, b in same for c, d in different if b == c}
        apart |= {(b, a) for a, b in apart}
        if more <= same and apart <= different:
            return None if same & different else (same, different)
        same, different = same | more, different | apart


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(st.integers(-1, 2), min_size=N, max_size=N),
    pairs=st.lists(st.tuples(st.integers(0, N - 1), st.integers(0, N - 1), st.booleans()), max_size=4),
)
def test_the_relation_is_what_follows_from_labels_and_pairs(labels: list[int], pairs: Pairs):
    expected = spelled_out(labels, pairs)
    listed = [HintPair(a, b, 0, is_same) for a, b, is_same in pairs]
    if expected is None:
        with pytest.raises(ValueError, match=r"hints must not contradict each other, but .* in facet 0; take one"):
            collect_hints(labels_of(labels), listed)
        return
    same, different = expected
    hints = collect_hints(labels_of(labels), listed)
    hinted = {row for row, label in enumerate(labels) if label >= 0} | {row for pair in pairs for row in pair[:2]}
    assert hints.rows.tolist() == sorted(hinted)
    found = relation_of(hints, 0)
    assert found == {ends: SAME if ends in same else DIFFERENT if ends in different else UNKNOWN for ends in found}
    assert (hints.facets() == [0]) == any(kind != UNKNOWN for kind in found.values())


def test_facets_have_nothing_to_do_with_each_other():
    hints = collect_hints(
        labels_of([0, 0, 1, -1], [-1, -1, -1, -1], [5, -1, -1, 5]), [HintPair(1, 2, 2, is_same=False)]
    )
    assert hints.rows.tolist() == [0, 1, 2, 3]
    assert relation_of(hints, 0) == {(0, 1): 1, (0, 2): -1, (0, 3): 0, (1, 2): -1, (1, 3): 0, (2, 3): 0}
    assert set(relation_of(hints, 1).values()) == {UNKNOWN}
    assert relation_of(hints, 2) == {(0, 1): 0, (0, 2): 0, (0, 3): 1, (1, 2): -1, (1, 3): 0, (2, 3): 0}
    assert hints.facets() == [0, 2]
    assert hints.facets(first_facet=1) == [2]


def test_among_some_rows_the_rest_is_as_it_was():
    hints = collect_hints(labels_of([0, 0, 1, 1, -1]))
    some = hints.among(np.array([0, 2, 4]))
    assert some.rows.tolist() == [0, 2]
    assert relation_of(some, 0) == {(0, 2): DIFFERENT}
    assert hints.among(np.array([0, 4])).facets() == []
    assert hints.among(np.array([0, 1])).facets() == [0]


def test_what_is_joined_through_others_stays_known_without_them():
    hints = collect_hints(labels_of([-1] * 3), [HintPair(0, 1, 0, is_same=True), HintPair(1, 2, 0, is_same=True)])
    assert relation_of(hints.among(np.array([0, 2])), 0) == {(0, 2): SAME}


@pytest.mark.parametrize(
    ("labels", "pairs", "message"),
    [
        (
            [0, 0, 1, 1],
            [HintPair(0, 1, 0, is_same=False)],
            "images 0 and 1 are to be the same and different in facet 0",
        ),
        ([0, 0, 3, 3], [HintPair(1, 2, 0, is_same=True)], "pairs join images of the labels 0 and 3 in facet 0"),
        ([-1, -1, -1, -1], [HintPair(2, 2, 0, is_same=False)], "images 2 and 2 are to be the same and different"),
    ],
)
def test_contradictions_are_named(labels, pairs, message):
    with pytest.raises(ValueError, match=message):
        collect_hints(labels_of(labels), pairs)


def test_no_hints_at_all():
    hints = collect_hints(labels_of([-1] * 4, [-1] * 4))
    assert hints.chunklets.shape == (2, 0)
    assert hints.facets() == []


def test_too_many_sets_of_images_are_refused(monkeypatch):
    monkeypatch.setattr(hints_module, "_MOST_CHUNKLETS", 3)
    pairs = [HintPair(2 * i, 2 * i + 1, 0, is_same=True) for i in range(4)]
    assert collect_hints(labels_of([-1] * N), pairs[:3]).facets() == [0]
    with pytest.raises(ValueError, match="at most 3 sets of images that belong together, got 4; give fewer"):
        collect_hints(labels_of([-1] * N), pairs)
