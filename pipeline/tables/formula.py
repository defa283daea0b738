"""Text that a spreadsheet takes for a formula, kept text by an apostrophe in front: the mark that spreadsheets know."""

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_MARKED = re.compile(r"'+[=+\-@\t\r]")


def as_text(value: str) -> str:
    """Return a cell for a CSV file that no spreadsheet runs as a formula."""
    return f"'{value}" if _FORMULA.match(value) else value


def from_text(cell: str) -> str:
    """Return what :func:`as_text` was given."""
    return cell[1:] if _MARKED.match(cell) else cell
