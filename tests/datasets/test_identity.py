import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import DataError
from pipeline.datasets.delivery.known import content_hashes
from pipeline.datasets.store.identity import (
    batch_id,
    format_ids,
    hash_images,
    number_copies,
    parse_ids,
    repeated_pairs,
)


def test_copies_are_numbered_in_order() -> None:
    hashes = np.array([7, 5, 7, 7, 5, 9], np.uint64)
    assert number_copies(hashes).tolist() == [1, 1, 2, 3, 2, 1]


@given(st.lists(st.integers(0, 5), max_size=30))
def test_copies_agree_with_counting(values: list[int]) -> None:
    counted = [values[: place + 1].count(value) for place, value in enumerate(values)]
    assert number_copies(np.array(values, np.uint64)).tolist() == counted


def test_ids_are_text_that_never_looks_numeric() -> None:
    ids = format_ids(np.array([0, 2**64 - 1, 255], np.uint64), np.array([1, 2, 31]))
    assert ids.astype(str).tolist() == ["i-0000000000000000", "i-ffffffffffffffff-2", "i-00000000000000ff-31"]


def test_no_ids_of_no_images() -> None:
    assert len(format_ids(np.empty(0, np.uint64), np.empty(0, np.int64))) == 0
    assert hash_images(np.empty((0, 1, 2, 2), np.uint8)).tolist() == []


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(1, 10**9 - 1)), max_size=10))
def test_ids_are_parsed_back(pairs: list[tuple[int, int]]) -> None:
    hashes = np.array([pair[0] for pair in pairs], np.uint64)
    copies = np.array([pair[1] for pair in pairs], np.int64)
    parsed = parse_ids(format_ids(hashes, copies).astype(str).tolist())
    assert (parsed[0] == hashes).all()
    assert (parsed[1] == copies).all()


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(1, 10**9 - 1)), max_size=10), st.integers(0, 3))
def test_a_column_of_ids_gives_the_same_hashes(pairs: list[tuple[int, int]], start: int) -> None:
    hashes = np.array([pair[0] for pair in pairs], np.uint64)
    copies = np.array([pair[1] for pair in pairs], np.int64)
    column = pa.array(format_ids(hashes, copies).astype(str).tolist(), pa.string())[start:]
    assert content_hashes(column).tolist() == hashes[start:].tolist()


@pytest.mark.parametrize("text", ["", "i-12", "i-000000000000000G"])
def test_a_column_of_other_text_is_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"an image id must be i- and 16 hex digits"):
        content_hashes(pa.array(["i-0000000000000000", text]))


@pytest.mark.parametrize("text", ["", "17", "i-12", "j-0000000000000000", "i-000000000000000g", "i-0000000000000000-x"])
def test_other_text_is_no_id(text: str) -> None:
    with pytest.raises(DataError, match=r"an image id must be i- and 16 hex digits, got .* copy it from the tables"):
        parse_ids([text])


def test_shape_counts() -> None:
    pixels = np.arange(12, dtype=np.uint8)
    shapes = [(1, 3, 4), (1, 4, 3), (3, 2, 2), (1, 2, 6)]
    assert len({int(hash_images([pixels.reshape(shape)])[0]) for shape in shapes}) == len(shapes)


@pytest.mark.parametrize("n_channels", [1, 3, 4])
def test_one_array_and_separate_images_have_the_same_hashes(n_channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, n_channels, 4, 6), np.uint8)
    separately = [hash_images([image])[0] for image in images]
    assert hash_images(images).tolist() == separately
    assert hash_images(list(images)).tolist() == separately
    channels_last = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert hash_images(channels_last).tolist() == separately
    assert hash_images(np.repeat(images, 2, axis=3)[..., ::2]).tolist() == separately


def test_repeated_pairs_are_found_after_their_first() -> None:
    hashes, copies = np.array([5, 5, 5, 6, 5], np.uint64), np.array([1, 2, 1, 1, 2])
    assert repeated_pairs(hashes, copies).tolist() == [False, False, True, False, True]


def test_a_batch_is_named_by_its_images_alone() -> None:
    assert batch_id(["i-1", "i-2"]) == batch_id(["i-2", "i-1"]) != batch_id(["i-1"])
    assert len(batch_id([])) == 14
