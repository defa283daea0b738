"""Ids of images: written, read, and matched over releases."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import DataError
from pipeline.core.image_ids import (
    HASH_DTYPE,
    ID_DTYPE,
    ContentSet,
    are_among,
    are_short,
    format_ids,
    leading_bits,
    parse_ids,
    short_ids,
    shorten,
)
from pipeline.table_format.ids import content_hashes, id_column

COPIES = st.integers(1, 10**9 - 1)
SHORT, LONG = (st.binary(min_size=size, max_size=size).map(lambda hash: hash.ljust(16, b"\0")) for size in (8, 16))
HASHES = st.one_of(SHORT, LONG)
ALIKE = [bytes([a, *[0] * 6, b]) + end for a in (0, 7) for b in (0, 9) for end in (bytes(8), b"abcdefgh", b"abcdefgi")]
FEW = st.lists(st.sampled_from(ALIKE), max_size=8)
OTHER = ("", "17", "i-12", "j-0000000000000000", "i-000000000000000g", "i-0000000000000000-x", "i-" + 24 * "0")


def array(hashes: list[bytes]) -> np.ndarray:
    return np.array(hashes, HASH_DTYPE)


def same(one: bytes, other: bytes) -> bool:
    """Tell by the definition whether two hashes are of one content."""
    half = 8 if bytes(8) in (one[8:], other[8:]) else 16
    return one[:half] == other[:half]


def test_ids_are_text_that_never_looks_numeric() -> None:
    ids = format_ids(array([bytes(15) + b"\x07", b"\xff" * 16, b"\x01" * 15 + b"\0"]), np.array([1, 2, 31]))
    assert ids.dtype == ID_DTYPE
    assert ids.astype(str).tolist() == [f"i-{7:032x}", f"i-{'ff' * 16}-2", f"i-{'01' * 15}00-31"]


def test_no_ids_of_no_images() -> None:
    assert format_ids(array([]), np.empty(0, np.int64)).tolist() == []
    assert len(parse_ids([])[0]) == len(content_hashes(pa.array([], pa.string()))) == 0
    assert short_ids([]).tolist() == []


@given(st.lists(st.tuples(HASHES, COPIES), max_size=10), st.integers(0, 3))
def test_ids_are_read_back_as_they_were_written(pairs: list[tuple[bytes, int]], start: int) -> None:
    hashes, copies = array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs], np.int64)
    ids = format_ids(hashes, copies)
    parsed = parse_ids(ids.astype(str).tolist())
    assert (parsed[0] == hashes).all()
    assert (parsed[1] == copies).all()
    column = id_column(ids)
    assert column.to_pylist() == ids.astype(str).tolist()
    assert (content_hashes(column[start:]) == hashes[start:]).all()


def test_an_id_of_an_earlier_release_is_the_beginning_of_today_s() -> None:
    long = f"i-{'0123456789abcdef' * 2}"
    assert short_ids([long, f"{long}-2", long[:18], f"{long[:18]}-3"]).tolist() == [
        "i-0123456789abcdef",
        "i-0123456789abcdef-2",
        "i-0123456789abcdef",
        "i-0123456789abcdef-3",
    ]
    assert are_short(parse_ids([long, long[:18]])[0]).tolist() == [False, True]
    assert leading_bits(parse_ids([long, long[:18]])[0]).tolist() == [0x0123456789ABCDEF] * 2


@given(FEW, FEW)
def test_content_is_known_by_as_many_bits_as_both_ids_have(known: list[bytes], hashes: list[bytes]) -> None:
    expected = [any(same(one, other) for other in known) for one in hashes]
    assert ContentSet(array(known)).has(array(hashes)).tolist() == expected
    assert are_among(array(hashes), np.sort(array(known))).tolist() == expected


@given(st.lists(HASHES, max_size=20))
def test_hashes_keep_their_order_when_they_are_shortened(hashes: list[bytes]) -> None:
    ordered = np.sort(array(hashes))
    assert shorten(ordered).tolist() == [one[:8].rstrip(b"\0") for one in sorted(hashes)]
    assert (np.diff(leading_bits(ordered).astype(object)) >= 0).all()


@pytest.mark.parametrize("text", OTHER)
def test_other_text_is_no_id(text: str) -> None:
    reason = r"an image id must be i- and 32 hex digits, or 16 of an earlier release, got .* copy it from the tables"
    with pytest.raises(DataError, match=reason):
        parse_ids([text])


@pytest.mark.parametrize("text", ["", "i-12", "i-000000000000000G", f"i-{'0' * 31} "])
def test_a_column_of_other_text_is_refused(text: str) -> None:
    for id_ in ("i-0000000000000000", f"i-{0:032x}"):
        with pytest.raises(DataError, match=r"an image id must be i- and 32 hex digits"):
            content_hashes(pa.array([id_, text]))
