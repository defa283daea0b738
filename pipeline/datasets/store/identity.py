"""Names of images and batches that follow from their content alone."""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import xxhash
from jaxtyping import Bool, Float32, Int64, Shaped, UInt8

from pipeline.core.errors import DataError
from pipeline.core.image_ids import HASH_DTYPE, are_short, format_ids, leading_bits, parse_ids

_WHOLE_BYTES = 2**14


def hash_images(
    images: UInt8[np.ndarray, "image channel height width"] | Sequence[UInt8[np.ndarray, "_ _ _"]],
) -> Shaped[np.ndarray, " image"]:
    """Return a 128-bit hash of shape and pixels for each image, of :data:`pipeline.core.image_ids.HASH_DTYPE`.

    Two images get one hash exactly when they have the same shape and the same pixels (collisions apart: about 1 in 10²²
    for a hundred million images). It is the start of a SHA-256; pixels count in the order height, width, channel, as
    decoders deliver them. Above 16 KiB their 128-bit XXH3 stands for them, as SHA-256 of all would cost a third of
    decoding a photograph; so only smaller images are safe from others made up to have the same hash.
    """
    if isinstance(images, np.ndarray) and images[:1].nbytes <= _WHOLE_BYTES:
        return _hash_small_images(images)
    return np.array([hash_image(image) for image in images], HASH_DTYPE)


def hash_image(image: UInt8[np.ndarray, "channel height width"]) -> bytes:
    """Return the hash of one image, as :func:`hash_images` does of several."""
    pixels = np.ascontiguousarray(image.transpose(1, 2, 0)).reshape(-1)
    digest = hashlib.sha256(b"%dx%dx%d:" % image.shape)
    digest.update(pixels.data if len(pixels) <= _WHOLE_BYTES else xxhash.xxh3_128_digest(pixels.data))
    return digest.digest()[: HASH_DTYPE.itemsize]


def hash_rows(rows: Float32[np.ndarray, "row 1 1 feature"]) -> Shaped[np.ndarray, " row"]:
    """Return a 128-bit hash of each row's numbers, the start of a SHA-256, as :func:`hash_images` does for images.

    Rows get one hash exactly when all their numbers are equal, 0 and -0 among them.
    """
    start = hashlib.sha256(b"features %d:" % rows.shape[-1])
    numbers = (rows + np.float32(0)).astype("<f4", copy=False)  # -0 + 0 is 0
    digests = bytearray()
    for row in numbers.reshape(len(rows), -1):
        digest = start.copy()
        digest.update(row.data)
        digests += digest.digest()[: HASH_DTYPE.itemsize]
    return np.frombuffer(digests, HASH_DTYPE)


def _hash_small_images(images: UInt8[np.ndarray, "image channel height width"]) -> Shaped[np.ndarray, " image"]:
    """Do as :func:`hash_image` for each, but bring the pixels of all into order at once: half the time."""
    start = hashlib.sha256(b"%dx%dx%d:" % images.shape[1:])
    data = _channels_last(images).reshape(-1).data
    image_bytes = max(1, images[:1].nbytes)
    digests = bytearray()
    for first in range(0, len(data), image_bytes):
        digest = start.copy()
        digest.update(data[first : first + image_bytes])
        digests += digest.digest()[: HASH_DTYPE.itemsize]
    return np.frombuffer(digests, HASH_DTYPE)


def _channels_last(images: UInt8[np.ndarray, "image channel height width"]) -> UInt8[np.ndarray, "image _ _ _"]:
    transposed = images.transpose(0, 2, 3, 1)
    if images.shape[1] == 1 or transposed.flags.c_contiguous:
        return np.ascontiguousarray(transposed)
    pixels = np.empty(transposed.shape, np.uint8)
    for channel in range(images.shape[1]):  # numpy's own copy of a transposed array takes twice as long
        pixels[..., channel] = images[:, channel]
    return pixels


def number_copies(hashes: Shaped[np.ndarray, " image"]) -> Int64[np.ndarray, " image"]:
    """Return for each image which copy of its content it is: 1 for the first in order, 2 for the next, and so on."""
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    is_first = np.ones(len(hashes), bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    places = np.arange(len(hashes))
    group_start = np.maximum.accumulate(np.where(is_first, places, 0))
    copies = np.empty(len(hashes), np.int64)
    copies[order] = places - group_start + 1
    return copies


def repeated_pairs(
    hashes: Shaped[np.ndarray, " image"], copies: Int64[np.ndarray, " image"]
) -> Bool[np.ndarray, " image"]:
    """Tell which images repeat the id of an earlier image."""
    # Where a batch still has ids of an earlier release, 64 bits decide, as they did there.
    keys = leading_bits(hashes) if are_short(hashes).any() else hashes
    order = np.lexsort((np.arange(len(keys)), copies, keys))
    repeats = np.zeros(len(keys), bool)
    same = (keys[order][1:] == keys[order][:-1]) & (copies[order][1:] == copies[order][:-1])
    repeats[order[1:]] = same
    return repeats


def renew_ids(
    ids: Shaped[np.ndarray, " image"], images: Sequence[UInt8[np.ndarray, "_ _ _"]] | UInt8[np.ndarray, "image _ _ _"]
) -> Shaped[np.ndarray, " image"]:
    """Return ids of today for images whose ids an earlier release made.

    Args:
        ids: of the images, as text.
        images: at source size, as they were hashed then.

    Raises:
        DataError: an id is that of another image.
    """
    (old, copies), new = parse_ids(ids.tolist()), hash_images(images)
    odd = np.flatnonzero(leading_bits(old) != leading_bits(new))
    if len(odd):
        raise DataError(f"image {ids[odd[0]]} must have the content that its id names, got other pixels")
    return format_ids(new, copies)


def batch_id(image_ids: Iterable[str]) -> str:
    """Return the name of a batch of images: the same images in any order give the same name."""
    digest = hashlib.sha256("\n".join(sorted(image_ids)).encode())
    return f"b-{digest.hexdigest()[:12]}"
