import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import DataError
from pipeline.core.image_ids import HASH_DTYPE, ContentSet
from pipeline.datasets.prepare.catalogue import TEST, TRAIN, Catalogue, split_by_content

NONE = ContentSet.of_ids([])


def hashes_of(numbers: list[int]) -> np.ndarray:
    """Return content hashes in the order of some numbers."""
    return np.array([number.to_bytes(8, "big") + b"contents" for number in numbers], HASH_DTYPE)


def id_of(number: int) -> str:
    """Return the id that belongs to a number's hash."""
    return f"i-{number:016x}{b'contents'.hex()}"


def some_hashes(n: int, seed: int = 0) -> np.ndarray:
    return hashes_of(np.random.default_rng(seed).integers(0, 2**64, n, np.uint64).tolist())


def sizes(n: int) -> np.ndarray:
    return np.full((n, 2), 8, np.int32)


@pytest.mark.parametrize(("n", "fraction", "n_test"), [(1797, 0.2, 360), (10, 0.2, 2), (10, 0.0, 0), (7, 0.5, 4)])
def test_counts_are_exact(n: int, fraction: float, n_test: int) -> None:
    assert split_by_content(some_hashes(n), fraction, 0).sum() == n_test


def test_order_does_not_matter() -> None:
    hashes = some_hashes(200)
    order = np.random.default_rng(1).permutation(200)
    assert (split_by_content(hashes, 0.3, 0)[order] == split_by_content(hashes[order], 0.3, 0)).all()


def test_another_seed_splits_anew() -> None:
    hashes = some_hashes(1000)
    both = split_by_content(hashes, 0.5, 0) & split_by_content(hashes, 0.5, 1)
    assert abs(both.sum() - 250) < 5 * np.sqrt(1000 * 0.25 * 0.75)


def test_a_new_image_moves_at_most_one_other() -> None:
    hashes = some_hashes(301)
    before, after = split_by_content(hashes[:300], 0.2, 0), split_by_content(hashes, 0.2, 0)[:300]
    assert (before != after).sum() <= 1


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.floats(0, 0.9))
def test_copies_stay_on_one_side(values: list[int], fraction: float) -> None:
    hashes = hashes_of(values)
    is_test = split_by_content(hashes, fraction, 3)
    for value in set(values):
        assert len(set(is_test[np.array(values) == value])) == 1
    assert is_test.sum() <= np.ceil(fraction * len(values))


def test_rows_are_ordered_by_batch_and_id() -> None:
    catalogue = Catalogue()
    catalogue.add(hashes_of([9, 3, 9, 1]), sizes(4), list("abcd"), {}, "train")
    catalogue.add_joined([id_of(2), id_of(3), id_of(0)], sizes(3), list("efg"))
    columns = catalogue.finish(0.2, 0)
    rows = columns.rows(TRAIN, NONE)
    assert columns.path.take(rows).to_pylist() == ["d", "b", "a", "c", "g", "e"]  # f repeats the source's b
    assert columns.image_ids(rows)[3].decode() == f"{id_of(9)}-2"
    assert columns.position[rows].tolist() == [3, 1, 0, 2, 2, 0]
    assert len(columns.rows(TEST, NONE)) == 0


def test_all_copies_of_a_removed_image_go_and_the_test_split_stays() -> None:
    hashes = np.concatenate([some_hashes(20), some_hashes(1), some_hashes(1)])
    catalogue = Catalogue()
    catalogue.add(hashes, sizes(22), ["x"] * 22, {}, None)
    columns = catalogue.finish(0.25, 0)
    before = {split: set(columns.rows(split, NONE)) for split in (TRAIN, TEST)}
    after = {split: set(columns.rows(split, ContentSet(hashes[:1]))) for split in (TRAIN, TEST)}
    assert set.union(*before.values()) - set.union(*after.values()) == {0, 20, 21}
    assert after[TEST] <= before[TEST]
    assert after[TRAIN] <= before[TRAIN]


def test_joined_images_have_no_labels() -> None:
    catalogue = Catalogue()
    catalogue.add(some_hashes(2), sizes(2), ["a", "b"], {"digit": np.array([4, 5], np.int32)}, "test")
    catalogue.add_joined([id_of(2)], sizes(1), ["c"])
    columns = catalogue.finish(0.2, 0)
    assert columns.labels["digit"].tolist() == [4, 5, -1]
    assert columns.split.tolist() == [TEST, TEST, TRAIN]


def test_a_factor_that_appears_later_is_refused() -> None:
    catalogue = Catalogue()
    catalogue.add(some_hashes(1), sizes(1), ["a"], {}, None)
    with pytest.raises(DataError, match=r"must have the same label factors, got \[\] and \['digit'\] from b on"):
        catalogue.add(some_hashes(1), sizes(1), ["b"], {"digit": np.zeros(1, np.int32)}, None)
