"""Names of images and batches that follow from their content alone."""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import xxhash
from jaxtyping import Bool, Int64, Shaped, UInt8, UInt64

from pipeline.core.errors import DataError

ID_DTYPE = np.dtype("S28")
"""``i-``, 16 hex digits and room for a copy number of nine digits."""

_WHOLE_BYTES = 2**14

ID_PREFIX = b"i-"
N_HEX = 16


def hash_images(
    images: UInt8[np.ndarray, "image channel height width"] | Sequence[UInt8[np.ndarray, "_ _ _"]],
) -> UInt64[np.ndarray, " image"]:
    """Return a 64-bit hash of shape and pixels for each image.

    Two images get one hash exactly when they have the same shape and the same pixels (collisions apart: about 3 in 10⁸
    for a million images). It is the start of a SHA-256; pixels count in the order height, width, channel, as decoders
    deliver them. Above 16 KiB their 128-bit XXH3 stands for them, as SHA-256 of all would cost a third of decoding a
    photograph; so only smaller images are safe from others made up to have the same hash.
    """
    if isinstance(images, np.ndarray) and images[:1].nbytes <= _WHOLE_BYTES:
        return _hash_small_images(images)
    return np.array([_hash_image(image) for image in images], np.uint64)


def _hash_small_images(images: UInt8[np.ndarray, "image channel height width"]) -> UInt64[np.ndarray, " image"]:
    """Do as :func:`_hash_image` for each, but bring the pixels of all into order at once: half the time."""
    start = hashlib.sha256(b"%dx%dx%d:" % images.shape[1:])
    data = _channels_last(images).reshape(-1).data
    image_bytes = max(1, images[:1].nbytes)
    digests = bytearray()
    for first in range(0, len(data), image_bytes):
        digest = start.copy()
        digest.update(data[first : first + image_bytes])
        digests += digest.digest()[:8]
    return np.frombuffer(bytes(digests), ">u8").astype(np.uint64)


def _channels_last(images: UInt8[np.ndarray, "image channel height width"]) -> UInt8[np.ndarray, "image _ _ _"]:
    transposed = images.transpose(0, 2, 3, 1)
    if images.shape[1] == 1 or transposed.flags.c_contiguous:
        return np.ascontiguousarray(transposed)
    pixels = np.empty(transposed.shape, np.uint8)
    for channel in range(images.shape[1]):  # numpy's own copy of a transposed array takes twice as long
        pixels[..., channel] = images[:, channel]
    return pixels


def _hash_image(image: UInt8[np.ndarray, "channel height width"]) -> int:
    pixels = np.ascontiguousarray(image.transpose(1, 2, 0)).reshape(-1)
    digest = hashlib.sha256(b"%dx%dx%d:" % image.shape)
    digest.update(pixels.data if len(pixels) <= _WHOLE_BYTES else xxhash.xxh3_128_digest(pixels.data))
    return int.from_bytes(digest.digest()[:8], "big")


def number_copies(hashes: UInt64[np.ndarray, " image"]) -> Int64[np.ndarray, " image"]:
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


def format_ids(
    hashes: UInt64[np.ndarray, " image"], copies: Int64[np.ndarray, " image"]
) -> Shaped[np.ndarray, " image"]:
    """Return image ids as ASCII bytes of :data:`ID_DTYPE`: ``i-<16 hex>``, then ``-2`` for a second copy."""
    digits = np.frombuffer(hashes.astype(">u8").tobytes().hex().encode(), f"S{N_HEX}")
    ids = np.char.add(ID_PREFIX, digits).astype(ID_DTYPE) if len(digits) else np.empty(0, ID_DTYPE)
    for row in np.flatnonzero(copies > 1):
        ids[row] = ids[row] + b"-%d" % copies[row]
    return ids


def parse_ids(ids: Iterable[str]) -> tuple[UInt64[np.ndarray, " image"], Int64[np.ndarray, " image"]]:
    """Return content hash and copy number of image ids.

    Raises:
        DataError: something else than an image id.
    """
    hashes: list[int] = []
    copies: list[int] = []
    for text in ids:
        parts = text.split("-")
        try:
            prefix, digits, copy = (*parts, "1") if len(parts) == 2 else parts
            hashes.append(int(digits, 16))
            copies.append(int(copy))
        except ValueError:
            prefix, digits = "", ""
        if prefix != "i" or len(digits) != N_HEX:
            raise DataError(f"an image id must be i- and {N_HEX} hex digits, got {text!r}; copy it from the tables")
    return np.array(hashes, np.uint64), np.array(copies, np.int64)


def repeated_pairs(
    hashes: UInt64[np.ndarray, " image"], copies: Int64[np.ndarray, " image"]
) -> Bool[np.ndarray, " image"]:
    """Tell which images repeat the id of an earlier image."""
    order = np.lexsort((np.arange(len(hashes)), copies, hashes))
    repeats = np.zeros(len(hashes), bool)
    same = (hashes[order][1:] == hashes[order][:-1]) & (copies[order][1:] == copies[order][:-1])
    repeats[order[1:]] = same
    return repeats


def batch_id(image_ids: Iterable[str]) -> str:
    """Return the name of a batch of images: the same images in any order give the same name."""
    digest = hashlib.sha256("\n".join(sorted(image_ids)).encode())
    return f"b-{digest.hexdigest()[:12]}"
