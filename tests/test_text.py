"""What comes from outside never reaches a terminal or a line of a log as anything that these would obey."""

import json
import os
import pickle
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import DataError, ResourceError
from pipeline.core.text import count_reasons, counted, percent, printable, printable_lines, set_aside, to_json
from pipeline.operations.process_group import ProcessGroup

NAMES = st.text(st.characters(codec=None, categories=["Cc", "Cf", "Cs", "L", "Zl", "Zp", "S"])) | st.binary().map(
    os.fsdecode
)


def is_obeyed(text: str) -> bool:
    return any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in "\u202e\u2066\u200f" for c in text)


@given(NAMES)
def test_a_name_becomes_one_line_that_nothing_obeys_and_stays_so(name: str) -> None:
    shown = printable(name.replace("\t", " "))
    assert not is_obeyed(shown)
    assert printable(shown) == shown
    shown.encode()
    if not is_obeyed(name) and name.isprintable():
        assert shown == name


@given(st.recursive(NAMES, lambda some: st.lists(some) | st.dictionaries(NAMES, some), max_leaves=5))
def test_json_keeps_the_data_and_can_be_shown(value: object) -> None:
    text = to_json(value)
    assert not is_obeyed(text)
    # Python joins two halves of a character that other halves of JSON would keep apart; names have none of these.
    if not re.search("[\ud800-\udbff]", json.dumps(value, ensure_ascii=False)):
        assert json.loads(text) == value


def test_what_is_meant_is_left_alone() -> None:
    for text in ("Ünïcödé.png", "日本語.jpg", "a b", "👩‍🔬.png", "caf\\xe9", "×"):
        assert printable(text) == text
    assert printable("a\x1b[2J\n\x9b\u202e" + os.fsdecode(b"\xe9")) == "a\\x1b[2J\\n\\x9b\\u202e\\xe9"
    assert printable_lines("a\nb\x07") == "a\nb\\x07"


def test_an_error_is_one_line_whatever_it_names_and_the_output_of_others_follows() -> None:
    path = Path("a\nfacets: forged\x1b[0m")
    error = DataError(f"{path} is missing")
    assert str(error) == "a\\nfacets: forged\\x1b[0m is missing"
    crash = ResourceError("it crashed", "first\x07", "last")
    assert str(crash) == "it crashed\nfirst\\x07\nlast"
    assert str(pickle.loads(pickle.dumps(crash))) == str(crash)  # noqa: S301


def test_lines_of_other_programs_are_printable(tmp_path: Path) -> None:
    lines: list[str] = []
    command = ["printf", "a\\033[31mb\\n\\tc\\233d\\re\\377\\n"]
    with ProcessGroup(command, tmp_path, dict(os.environ)) as group:
        assert group.stream(lines.append) == 0
    assert lines == ["a\\x1b[31mb", "\tc�d", "e�"]


def test_one_thing_is_no_plural() -> None:
    assert [counted(n, "new image") for n in (0, 1, 2)] == ["0 new images", "1 new image", "2 new images"]
    assert [counted(n, "batch") for n in (0, 1, 2)] == ["0 batches", "1 batch", "2 batches"]


def test_reasons_that_differ_in_details_alone_are_one() -> None:
    reasons = ["is empty (0 bytes)", "has 9×7 pixels", "has 9×8 pixels", "leads out by 'a'", "leads out by 'b'"]
    assert count_reasons([*reasons, "has 9×6 pixels"]) == {
        "has 9×… pixels": 3,
        "leads out by …": 2,
        "is empty (0 bytes)": 1,
    }
    assert count_reasons([]) == {}


def test_what_was_set_aside_is_one_sentence() -> None:
    assert set_aside(300, {}) == "none of 300 set aside"
    assert set_aside(300, {"is a PDF": 150}) == "150 of 300 set aside: 150 × is a PDF"
    many = {f"is wrong in way {letter}": 1200 - place for place, letter in enumerate("abcdefg")}
    assert set_aside(20_000, many) == (
        "8,379 of 20,000 set aside: 1,200 × is wrong in way a; 1,199 × is wrong in way b; 1,198 × is wrong in way c; "
        "1,197 × is wrong in way d; 1,196 × is wrong in way e; 2,389 for 2 other reasons"
    )


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0 %"), (0.0291, "2.9 %"), (0.39, "39 %"), (0.1, "10 %"), (1.0, "100 %")]
)
def test_a_share_is_written_as_on_the_page(share: float, text: str) -> None:
    assert percent(share) == text
