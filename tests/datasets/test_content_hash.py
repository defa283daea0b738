"""The content hash behind image ids: the same in every container, different for any difference."""

import hashlib

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from pipeline.datasets.store.identity import hash_images


def reference(image: np.ndarray) -> bytes:
    """Compute the same definition from one long text of bytes, XXH3 piece by piece."""
    content = image.transpose(1, 2, 0).tobytes()
    if len(content) > 2**14:
        digest = xxhash.xxh3_128()
        for start in range(0, len(content), 1000):
            digest.update(content[start : start + 1000])
        content = digest.digest()
    return hashlib.sha256("x".join(map(str, image.shape)).encode() + b":" + content).digest()[:16]


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (1, 2, 4), (3, 5, 7), (1, 28, 28), (3, 150, 149), (2, 256, 129), (1, 128, 128)]
)
def test_hash_is_the_documented_one(shape):
    images = np.random.default_rng(0).integers(0, 256, (2, *shape), dtype=np.uint8)
    assert hash_images(images).tobytes() == b"".join(reference(image) for image in images)


@pytest.mark.parametrize(
    ("side", "expected"), [(2, "d903764c2522f8ad"), (128, "4c62b5119cc542c5"), (129, "dd6a15421ebcecf9")]
)
def test_hash_stays_what_it_was(side, expected):
    """Published ids are made of it, of 64 bits before and of 128 now: no other version of a library may change it."""
    image = (np.arange(side * side) % 251).astype(np.uint8).reshape(1, 1, side, side)
    assert hash_images(image).tobytes().hex()[:16] == expected


def test_block_sequence_and_memory_order_do_not_matter():
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 9, 11), dtype=np.uint8)
    channels_last = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    expected = hash_images(images)
    assert np.array_equal(hash_images(channels_last), expected)
    assert np.array_equal(hash_images(list(images)), expected)
    assert np.array_equal(hash_images(images[::-1])[::-1], expected)
    assert hash_images(images[:0]).shape == (0,)


def test_shape_counts():
    pixels = np.arange(24, dtype=np.uint8)
    shapes = [(1, 4, 6), (1, 6, 4), (2, 3, 4), (3, 4, 2), (1, 1, 24), (1, 24, 1)]
    assert len({bytes(hash_images(pixels.reshape(1, *shape))[0]) for shape in shapes}) == len(shapes)


@given(st.integers(0, 70_000 * 8 - 1), st.integers(0, 2**16))
def test_any_single_bit_counts(bit, seed):
    flat = np.random.default_rng(seed).integers(0, 256, 70_000, dtype=np.uint8)
    other = flat.copy()
    other[bit // 8] ^= 1 << bit % 8
    assert hash_images([flat.reshape(1, 100, 700)]) != hash_images([other.reshape(1, 100, 700)])


def test_half_bright_dots_at_all_pairs_of_places_differ():
    n = 48
    images = np.zeros((n * (n - 1) // 2, 130 * 130), np.uint8)
    for row, (i, j) in enumerate(zip(*np.triu_indices(n, 1), strict=True)):
        images[row, [8 * i + 7, 8 * j + 7]] = 128
    assert len(np.unique(hash_images(images.reshape(-1, 1, 130, 130)))) == len(images)


def test_many_sparse_images_differ():
    rng = np.random.default_rng(3)
    values = rng.integers(1, 256, 3000, dtype=np.uint8)
    images = np.zeros((3000, 20_000), np.uint8)
    images[np.arange(3000), rng.permutation(20_000)[:3000]] = values
    assert len(np.unique(hash_images(images.reshape(-1, 1, 100, 200)))) == 3000
