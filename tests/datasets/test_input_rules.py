"""The table of input rules for people is the one that the tests of this folder provoke."""

import re
from pathlib import Path

import pytest

HERE = Path(__file__)
DOCUMENT = (HERE.parents[2] / "docs" / "inputs.md").read_text(encoding="utf-8")
MESSAGES = re.findall(r"^\|.*\| `(.+)` \|$", DOCUMENT, re.MULTILINE)
PROVOKED = re.sub(
    r"\\(.)", r"\1", "".join(path.read_text("utf-8") for path in HERE.parents[1].glob("[do]*/*.py") if path != HERE)
)
"""The tests' text, their patterns without escapes."""


def test_every_line_of_a_table_names_a_message() -> None:
    lines = [line for line in DOCUMENT.splitlines() if line.startswith("| ") and not line.startswith("| A ")]
    assert len(lines) == len(MESSAGES) == len(set(MESSAGES)) >= 40


@pytest.mark.parametrize("message", MESSAGES)
def test_a_documented_message_is_provoked(message: str) -> None:
    assert message in PROVOKED
