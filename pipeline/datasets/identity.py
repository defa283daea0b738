"""Names of images and batches that follow from their content alone."""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Int64, Shaped, UInt8, UInt64

from pipeline.errors import DataError

ID_DTYPE = np.dtype("S28")
"""``i-``, 16 hex digits and room for a copy number of nine digits."""

_PREFIX = b"i-"
_N_HEX = 16


def hash_images(
    images: UInt8[np.ndarray, "image channel height width"] | Sequence[UInt8[np.ndarray, "channel height width"]],
) -> UInt64[np.ndarray, " image"]:
    """Return a 64-bit hash of shape and pixels for each image.

    Two images get one hash exactly when they have the same shape and the same pixels (collisions apart: about 3 in 10⁸
    for a million images). Pixels count in the order height, width, channel, as decoders deliver them, so that a decoded
    photograph needs no copy; SHA-256 because processors have instructions for it (half of BLAKE2b's time here).
    """
    digests = bytearray()
    for image in images:
        digest = hashlib.sha256("x".join(map(str, image.shape)).encode() + b":")
        digest.update(np.ascontiguousarray(image.transpose(1, 2, 0)).data)
        digests += digest.digest()[:8]
    return np.frombuffer(bytes(digests), ">u8").astype(np.uint64)


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
    digits = np.frombuffer(hashes.astype(">u8").tobytes().hex().encode(), f"S{_N_HEX}")
    ids = np.char.add(_PREFIX, digits).astype(ID_DTYPE) if len(digits) else np.empty(0, ID_DTYPE)
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
        if prefix != "i" or len(digits) != _N_HEX:
            raise DataError(f"an image id must be i- and {_N_HEX} hex digits, got {text!r}; copy it from the tables")
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
