"""The two files of hints, written: begun, added to, taken back. Every column that people have added stays."""

import csv
from collections.abc import Sequence
from pathlib import Path

from pipeline.core.layout import Layout
from pipeline.core.storage import atomic_file
from pipeline.datasets.prepare.hint_files import LABEL_COLUMNS, PAIR_COLUMNS
from pipeline.datasets.readers.label_table import read_label_table
from pipeline.operations.tracked import remember_tracked
from pipeline.tables.formula import as_text

Line = tuple[str, ...]
"""Cells of one line: of :data:`LABEL_COLUMNS` or :data:`PAIR_COLUMNS`, in that order."""


def start_hint_files(layout: Layout) -> None:
    """Write files of hints that are not there yet, with nothing in them, and keep second copies of those that are."""
    for path, columns in _files(layout):
        if not path.exists():
            _write(path, columns, [])
        remember_tracked(layout, path)


def add_lines(layout: Layout, labels: Sequence[Line], pairs: Sequence[Line]) -> None:
    """Write lines to the end of the files.

    Raises:
        DataError: a file is no table with its columns.
    """
    for (path, columns), lines in zip(_files(layout), (labels, pairs), strict=True):
        if lines:
            header, rows = _read(path, columns)
            cells = [dict(zip(columns, line, strict=True)) for line in lines]
            added = [[of_line.get(name.lower(), "") for name in header] for of_line in cells]
            _write(path, header, [*rows, *added])
            remember_tracked(layout, path)


def take_lines(layout: Layout, labels: Sequence[Line], pairs: Sequence[Line]) -> tuple[list[Line], list[Line]]:
    """Take lines out of the files, of equal ones the last; return those that were there.

    Raises:
        DataError: a file is no table with its columns.
    """
    taken: list[list[Line]] = []
    for (path, columns), lines in zip(_files(layout), (labels, pairs), strict=True):
        header, rows = _read(path, columns)
        places = {name.lower(): place for place, name in enumerate(header)}
        found: list[Line] = []
        for line in reversed(lines):
            cells = [tuple(row[places[name]] for name in columns) for row in rows]
            if line in cells:
                del rows[len(cells) - 1 - cells[::-1].index(line)]
                found.insert(0, line)
        if found:
            _write(path, header, rows)
            remember_tracked(layout, path)
        taken.append(found)
    return taken[0], taken[1]


def _files(layout: Layout) -> tuple[tuple[Path, Sequence[str]], tuple[Path, Sequence[str]]]:
    return (layout.hints, LABEL_COLUMNS), (layout.hint_pairs, PAIR_COLUMNS)


def _read(path: Path, columns: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    if not path.exists():
        return list(columns), []
    table = read_label_table(str(path))
    return list(table.header), [list(row) for row in table.rows]


def _write(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def is_plain(path: str) -> bool:
    """Tell whether a path is read from a table as it is written there."""
    is_text = as_text(path) == path == path.strip() and path.isprintable()
    return is_text and not path.startswith("./") and "\\" not in path
