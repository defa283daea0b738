"""What comes from outside never reaches a terminal or a line of a log as anything that these would obey."""

import json
import os
import pickle
import re
import unicodedata
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import DataError, ResourceError
from pipeline.core.text import counted, printable, printable_lines, to_json
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
