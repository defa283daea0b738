"""What a person is asked and answers: CSV files with the columns ``image``, ``facet`` and ``label``.

A form has a line an image and no labels; filled in, its lines are those of ``hints/<experiment>.csv``. An image is
named by its file below the source, else by its id. As people open forms in spreadsheets, a cell that looks like a
formula has an apostrophe in front there, and only there.
"""

import csv
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.core.errors import DataError
from pipeline.core.storage import atomic_file
from pipeline.datasets.readers.label_table import read_label_table
from pipeline.tables.formula import as_text, from_text

_HEADER = ["image", "facet", "label"]
_CONTROL = {"Cc", "Cs", "Zl", "Zp"}


class Answer(NamedTuple):
    """A label that a person gave to an image in a facet; an empty one where they left the line open."""

    image: str
    facet: int
    label: str


def write_answers(path: Path, answers: Iterable[Answer]) -> None:
    """Write answers, or questions, which have no label yet; the file appears as a whole.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_HEADER)
        writer.writerows([as_text(image), facet, as_text(label)] for image, facet, label in answers)


def read_answers(path: Path) -> list[Answer]:
    """Read a form, filled in or not, as spreadsheets and programs save it; none where there is no file.

    Raises:
        DataError: the file is no CSV with these columns, a line names no image or no facet, or a cell holds control
            characters.
    """
    if not path.exists():
        return []
    columns = read_label_table(str(path)).columns()
    missing = [name for name in _HEADER if name not in columns]
    if missing:
        raise DataError(f"{path} must have the columns {', '.join(_HEADER)}, got no {', '.join(missing)}; add them")
    cells = zip(*(columns[name] for name in _HEADER), strict=True)
    return [_answer(path, line, row) for line, row in enumerate(cells, 2)]


def _answer(path: Path, line: int, row: Sequence[str]) -> Answer:
    image, facet, label = row
    if any(unicodedata.category(char) in _CONTROL for char in image + label):
        raise DataError(f"{path} must be text without control characters, got {list(row)!r} in line {line}; mend it")
    if not image:
        raise DataError(f"{path} must name an image in every line, got none in line {line}; mend it")
    if not facet.isdecimal():
        raise DataError(f"{path} must name a facet, 0, 1, …, in every line, got {facet!r} in line {line}; mend it")
    return Answer(from_text(image), int(facet), from_text(label))
