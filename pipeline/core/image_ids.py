"""Ids of images: how they are written, and when two of them mean the same image.

An id is ``i-`` and the content hash in 32 hex digits; further copies of one content in a source end in ``-2``, ``-3``.
Earlier releases wrote only the first 16 digits, and their ids stay valid: of two hashes that differ in length, the one
that begins with the other is of the same content.
"""

import re
from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int64, Shaped, UInt64

from pipeline.core.errors import DataError

HASH_DTYPE = np.dtype("S16")
"""A content hash, its most significant byte first; that of an id of an earlier release is 8 bytes and zeros."""

HASH_BITS = 8 * HASH_DTYPE.itemsize

ID_DTYPE = np.dtype("S44")
"""``i-``, 32 hex digits and room for a copy number of nine digits."""

LONG_ID = 2 + 2 * HASH_DTYPE.itemsize
"""Characters of an id, its copy number apart; ids of earlier releases are shorter even with one."""

SHORT_ID = 2 + HASH_DTYPE.itemsize
"""Characters of an id of an earlier release, its copy number apart: those with which the id of today begins."""

_ID = re.compile(r"i-([0-9a-f]{32}|[0-9a-f]{16})(?:-([0-9]{1,9}))?")
_WORD = np.dtype(">u8")


@runtime_checkable
class ContentLookup(Protocol):
    """Something that knows the content of some images."""

    def has(self, hashes: Shaped[np.ndarray, " image"]) -> Bool[np.ndarray, " image"]:
        """Tell which images' content is known, by their content hashes."""
        ...


class ContentSet:
    """The content of some images, in memory.

    Args:
        hashes: content hashes, in any order.
    """

    def __init__(self, hashes: Shaped[np.ndarray, " known"]) -> None:
        self._known = np.unique(hashes.astype(HASH_DTYPE))

    @classmethod
    def of_ids(cls, ids: Iterable[str]) -> "ContentSet":
        """Return the content that image ids stand for, whichever copy they name.

        Raises:
            DataError: something else than an image id.
        """
        return cls(parse_ids(ids)[0])

    def has(self, hashes: Shaped[np.ndarray, " image"]) -> Bool[np.ndarray, " image"]:
        """Tell which images' content is known, by their content hashes."""
        return are_among(hashes, self._known)


def are_among(hashes: Shaped[np.ndarray, " image"], known: Shaped[np.ndarray, " known"]) -> Bool[np.ndarray, " image"]:
    """Tell which content hashes are among known ones, where a hash of 64 bits stands for all that begin with it.

    Args:
        hashes: to look up.
        known: in ascending order; searched in place.
    """
    if not len(known):
        return np.zeros(len(hashes), bool)
    short = shorten(hashes)
    # A short hash is the smallest of all that begin with it.
    first, exact = (known[np.searchsorted(known, wanted).clip(max=len(known) - 1)] for wanted in (short, hashes))
    return (exact == hashes) | (first == short) | (are_short(hashes) & (leading_bits(first) == leading_bits(hashes)))


def are_repeated(hashes: Shaped[np.ndarray, " image"]) -> Bool[np.ndarray, " image"]:
    """Tell which images have the content of another one that counts as the first."""
    order = np.argsort(hashes, kind="stable")
    before, after = hashes[order][:-1], hashes[order][1:]
    repeated = np.zeros(len(hashes), bool)
    # A short hash comes right before those that begin with it.
    repeated[order[1:]] = (before == after) | (are_short(before) & (leading_bits(before) == leading_bits(after)))
    return repeated


def leading_bits(hashes: Shaped[np.ndarray, " image"]) -> UInt64[np.ndarray, " image"]:
    """Return the first 64 bits of content hashes as numbers in the same order."""
    return _words(hashes)[::2].astype(np.uint64)


def are_short(hashes: Shaped[np.ndarray, " image"]) -> Bool[np.ndarray, " image"]:
    """Tell which content hashes have 64 bits: one of 128 bits ends in as many zeros once in 2⁶⁴."""
    return _words(hashes)[1::2] == 0


def shorten(hashes: Shaped[np.ndarray, " image"]) -> Shaped[np.ndarray, " image"]:
    """Return content hashes as earlier releases wrote them, of 64 bits."""
    words = _words(hashes).copy()
    words[1::2] = 0
    return words.view(HASH_DTYPE)


def enclose(
    hashes: Shaped[np.ndarray, " image"],
) -> tuple[Shaped[np.ndarray, " image"], Shaped[np.ndarray, " image"]]:
    """Return the least and the greatest content hash that begin with the same 64 bits."""
    greatest = _words(hashes).copy()
    greatest[1::2] = 2**64 - 1
    return shorten(hashes), greatest.view(HASH_DTYPE)


def format_ids(
    hashes: Shaped[np.ndarray, " image"], copies: Int64[np.ndarray, " image"]
) -> Shaped[np.ndarray, " image"]:
    """Return image ids as ASCII bytes of :data:`ID_DTYPE`: ``i-<hex>``, then ``-2`` for a second copy."""
    if not len(hashes):
        return np.empty(0, ID_DTYPE)
    digits = np.frombuffer(_words(hashes).tobytes().hex().encode(), f"S{2 * HASH_DTYPE.itemsize}")
    digits = np.where(are_short(hashes), digits.astype(f"S{HASH_DTYPE.itemsize}"), digits)
    ids = np.char.add(b"i-", digits).astype(ID_DTYPE)
    for row in np.flatnonzero(copies > 1):
        ids[row] = ids[row] + b"-%d" % copies[row]
    return ids


def parse_ids(ids: Iterable[str]) -> tuple[Shaped[np.ndarray, " image"], Int64[np.ndarray, " image"]]:
    """Return content hash and copy number of image ids.

    Raises:
        DataError: something else than an image id.
    """
    hashes: list[bytes] = []
    copies: list[int] = []
    for text in ids:
        found = _ID.fullmatch(text)
        if found is None:
            raise DataError(
                f"an image id must be i- and {2 * HASH_DTYPE.itemsize} hex digits, or {HASH_DTYPE.itemsize} of an "
                f"earlier release, got {text!r}; copy it from the tables"
            )
        hashes.append(bytes.fromhex(found[1]))
        copies.append(int(found[2] or 1))
    return np.array(hashes, HASH_DTYPE), np.array(copies, np.int64)


def short_ids(ids: Iterable[str]) -> Shaped[np.ndarray, " image"]:
    """Return the ids that earlier releases gave the same images, as text."""
    hashes, copies = parse_ids(ids)
    return format_ids(shorten(hashes), copies).astype(np.str_)


def _words(hashes: Shaped[np.ndarray, " image"]) -> Shaped[np.ndarray, " word"]:
    return np.ascontiguousarray(hashes, HASH_DTYPE).view(_WORD)
