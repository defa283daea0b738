from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.tables.identity import Identity, descent, match
from tests.tables.builders import patient

overlaps = hnp.arrays(np.int64, st.tuples(st.integers(1, 4), st.integers(1, 4)), elements=st.integers(0, 9))


def served(uids=2):
    return Identity().with_model("m-old", [uids])


@patient
@given(overlaps, st.floats(0, 1))
def test_matches_are_one_to_one_and_similar_enough(overlap, min_jaccard):
    found = match(overlap, min_jaccard)
    assert len(set(found.values())) == len(found)
    for new, old in found.items():
        shared = overlap[old, new]
        either = overlap[old].sum() + overlap[:, new].sum() - shared
        assert shared > 0
        assert shared / either >= min_jaccard - 1e-12


@patient
@given(overlaps)
def test_matches_share_as_many_images_as_any_assignment(overlap):
    n_old, n_new = overlap.shape
    wide = overlap if n_old <= n_new else overlap.T
    best = max(
        sum(int(wide[row, column]) for row, column in enumerate(columns))
        for columns in permutations(range(wide.shape[1]), wide.shape[0])
    )
    assert sum(int(overlap[old, new]) for new, old in match(overlap, 0.0).items()) == best


@patient
@given(st.lists(st.integers(0, 50), min_size=1, max_size=6).filter(any), st.randoms())
def test_permuted_components_keep_every_uid_that_has_images(sizes, random):
    order = list(range(len(sizes)))
    random.shuffle(order)
    overlap = np.zeros((len(sizes), len(sizes)), np.int64)
    for old, new in enumerate(order):
        overlap[old, new] = sizes[old]
    before = served(len(sizes))
    after = before.with_model("m-new", [len(sizes)], served="m-old", overlaps=[overlap], min_jaccard=1.0)
    for old, new in enumerate(order):
        assert (after.maps["m-new"][0][new] == before.maps["m-old"][0][old]) == (sizes[old] > 0)


@patient
@given(st.lists(overlaps, min_size=1, max_size=5), st.floats(0, 1))
def test_no_uid_is_ever_given_twice(history, min_jaccard):
    identity = Identity().with_model("m-0", [history[0].shape[0]])
    minted = set(identity.minted_by)
    for step, overlap in enumerate(history, 1):
        # Each model has as many components as the next overlap needs old ones.
        old_size = len(identity.maps[f"m-{step - 1}"][0])
        fitted = np.resize(overlap, (old_size, overlap.shape[1]))
        following = history[step].shape[0] if step < len(history) else overlap.shape[1]
        fitted = np.resize(fitted, (old_size, following))
        identity = identity.with_model(
            f"m-{step}", [following], served=f"m-{step - 1}", overlaps=[fitted], min_jaccard=min_jaccard
        )
        uids = identity.maps[f"m-{step}"][0]
        assert len(set(uids)) == len(uids)
        fresh = {uid for uid, by in identity.minted_by.items() if by == f"m-{step}"}
        assert fresh.isdisjoint(minted)
        assert set(uids) - fresh <= set(identity.maps[f"m-{step - 1}"][0])
        minted |= fresh
        assert identity.next_number == (len(minted),)


def test_first_model_counts_from_zero_in_every_facet():
    identity = Identity().with_model("m-old", [2, 1])
    assert identity.maps["m-old"] == (("f0-c000", "f0-c001"), ("f1-c000",))
    assert identity.next_number == (2, 1)
    assert identity.minted_by["f1-c000"] == "m-old"


def test_known_model_keeps_its_first_map():
    identity = served()
    again = identity.with_model("m-old", [2], served="m-old", overlaps=[np.array([[0, 5], [5, 0]])])
    assert again is identity


def test_too_little_overlap_gives_a_new_uid():
    overlap = np.array([[4, 6], [0, 10]])  # Jaccard 4/10 and 10/16
    strict = served().with_model("m-new", [2], served="m-old", overlaps=[overlap], min_jaccard=0.5)
    assert strict.maps["m-new"] == (("f0-c002", "f0-c001"),)
    lenient = served().with_model("m-new", [2], served="m-old", overlaps=[overlap], min_jaccard=0.4)
    assert lenient.maps["m-new"] == (("f0-c000", "f0-c001"),)


def test_a_facet_that_the_old_model_lacks_starts_anew():
    identity = served().with_model("m-new", [2, 2], served="m-old", overlaps=[np.eye(2, dtype=np.int64)])
    assert identity.maps["m-new"] == (("f0-c000", "f0-c001"), ("f1-c000", "f1-c001"))


def kinds(overlap, old_uids, new_uids):
    return {(row["old_uid"], row["new_uid"]): row["kind"] for row in descent(np.array(overlap), old_uids, new_uids)}


def test_split_and_merge_are_told_apart():
    assert kinds([[10, 10]], ["a"], ["a", "b"]) == {("a", "a"): "kept", ("a", "b"): "split"}
    assert kinds([[10], [9]], ["a", "b"], ["a"]) == {("a", "a"): "kept", ("b", "a"): "merge"}


def test_a_crumb_is_no_descent_and_a_renamed_cluster_is():
    assert kinds([[10, 1], [0, 10]], ["a", "b"], ["a", "b"]) == {("a", "a"): "kept", ("b", "b"): "kept"}
    assert kinds([[10]], ["a"], ["z"]) == {("a", "z"): "replaced"}


def test_shares_are_of_the_shared_images():
    (row, *_) = descent(np.array([[6, 2], [0, 4]]), ["a", "b"], ["a", "b"])
    assert row["overlap"] == 6
    assert row["old_share"] == pytest.approx(6 / 8)
    assert row["new_share"] == pytest.approx(1.0)
