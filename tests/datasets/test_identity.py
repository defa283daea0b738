import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import DataError
from pipeline.core.image_ids import HASH_DTYPE, format_ids, parse_ids, short_ids
from pipeline.datasets.store.identity import batch_id, hash_images, number_copies, renew_ids, repeated_pairs


def hashes_of(numbers: list[int]) -> np.ndarray:
    """Return content hashes of 128 bits that are in the order of some numbers."""
    return np.array([bytes([number]) * 16 for number in numbers], HASH_DTYPE)


def test_copies_are_numbered_in_order() -> None:
    assert number_copies(hashes_of([7, 5, 7, 7, 5, 9])).tolist() == [1, 1, 2, 3, 2, 1]


@given(st.lists(st.integers(0, 5), max_size=30))
def test_copies_agree_with_counting(values: list[int]) -> None:
    counted = [values[: place + 1].count(value) for place, value in enumerate(values)]
    assert number_copies(hashes_of(values)).tolist() == counted


def test_no_images_have_no_hashes() -> None:
    assert hash_images(np.empty((0, 1, 2, 2), np.uint8)).tolist() == []
    assert hash_images([]).tolist() == []


def test_shape_counts() -> None:
    pixels = np.arange(12, dtype=np.uint8)
    shapes = [(1, 3, 4), (1, 4, 3), (3, 2, 2), (1, 2, 6)]
    assert len({bytes(hash_images([pixels.reshape(shape)])[0]) for shape in shapes}) == len(shapes)


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
    hashes, copies = hashes_of([5, 5, 5, 6, 5]), np.array([1, 2, 1, 1, 2])
    assert repeated_pairs(hashes, copies).tolist() == [False, False, True, False, True]


def test_a_batch_of_an_earlier_release_repeats_images_by_64_bits() -> None:
    one = f"i-{'ab' * 16}"
    hashes, copies = parse_ids([one, f"i-{'ab' * 8}{'cd' * 8}", f"{one}-2", short_ids([one])[0], "i-0000000000000001"])
    assert repeated_pairs(hashes[:3], copies[:3]).tolist() == [False, False, False]
    assert repeated_pairs(hashes, copies).tolist() == [False, True, False, True, False]


def test_old_ids_are_renewed_from_the_pixels_alone() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 1, 4, 5), np.uint8)
    today = format_ids(hash_images(images), np.array([1, 2, 1])).astype(str)
    old = short_ids(today.tolist())
    assert renew_ids(old, images).astype(str).tolist() == today.tolist()
    assert renew_ids(old, list(images)).astype(str).tolist() == today.tolist()
    with pytest.raises(DataError, match=rf"image {old[1]} must have the content that its id names, got other pixels"):
        renew_ids(old, images[[0, 0, 2]])


def test_a_batch_is_named_by_its_images_alone() -> None:
    assert batch_id(["i-1", "i-2"]) == batch_id(["i-2", "i-1"]) != batch_id(["i-1"])
    assert len(batch_id([])) == 14
