"""What people wrote about images: ``hints/<exp>.csv`` and ``hints/<exp>_pairs.csv``, line by line.

Read as tables of labels are: whatever separates the cells, in UTF-8 or UTF-16, with further columns or without. A line
without an answer says nothing, so that a table to fill in is a table of hints all the time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.datasets.readers.label_table import read_label_table

LABEL_COLUMNS = ("image", "facet", "label")
PAIR_COLUMNS = ("image_a", "image_b", "facet", "same")

_ANSWERS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class LabelHint:
    """One line of ``hints/<exp>.csv``: an image, as a file below the source or an id, and its label in a facet."""

    image: str
    facet: int
    label: str
    line: int


@dataclass(frozen=True)
class PairHint:
    """One line of ``hints/<exp>_pairs.csv``: two images, and whether they are to be the same in a facet."""

    image_a: str
    image_b: str
    facet: int
    is_same: bool
    line: int


@dataclass(frozen=True)
class HintFiles:
    """All that people wrote about the images of one experiment.

    Attributes:
        labels: in the order of their file.
        pairs: likewise.
        labels_path: of the file of labels, for messages.
        pairs_path: of that of pairs.
    """

    labels: tuple[LabelHint, ...]
    pairs: tuple[PairHint, ...]
    labels_path: Path
    pairs_path: Path

    def mentions(self) -> dict[str, tuple[Path, int]]:
        """Return the images as they are called there, each with file and line where it is called so first."""
        found: dict[str, tuple[Path, int]] = {}
        for hint in self.labels:
            found.setdefault(hint.image, (self.labels_path, hint.line))
        for pair in self.pairs:
            for image in (pair.image_a, pair.image_b):
                found.setdefault(image, (self.pairs_path, pair.line))
        return found

    def facets(self) -> dict[int, tuple[Path, int]]:
        """Return every facet that is named, with file and line where it is named first."""
        found: dict[int, tuple[Path, int]] = {}
        for hint in self.labels:
            found.setdefault(hint.facet, (self.labels_path, hint.line))
        for pair in self.pairs:
            found.setdefault(pair.facet, (self.pairs_path, pair.line))
        return found


def read_hint_files(layout: Layout) -> HintFiles:
    """Read both files; one that is missing says nothing.

    Raises:
        DataError: a file is no table with its columns, or a cell is not what its column holds.
    """
    labels, pairs = read_label_hints(layout.hints), read_pair_hints(layout.hint_pairs)
    return HintFiles(labels, pairs, layout.hints, layout.hint_pairs)


def read_label_hints(path: Path) -> tuple[LabelHint, ...]:
    """Read ``hints/<exp>.csv``; as :func:`read_hint_files`."""
    return tuple(
        LabelHint(_image(image, path, line), _facet(facet, path, line), label, line)
        for line, (image, facet, label) in _lines(path, LABEL_COLUMNS)
    )


def read_pair_hints(path: Path) -> tuple[PairHint, ...]:
    """Read ``hints/<exp>_pairs.csv``; as :func:`read_hint_files`."""
    return tuple(
        PairHint(_image(a, path, line), _image(b, path, line), _facet(facet, path, line), _same(same, path, line), line)
        for line, (a, b, facet, same) in _lines(path, PAIR_COLUMNS)
    )


def _lines(path: Path, columns: Sequence[str]) -> list[tuple[int, list[str]]]:
    """Return the lines that have an answer, with their numbers, and of each the cells of the columns."""
    if not path.exists():
        return []
    table = read_label_table(str(path))
    places = {name.lower(): place for place, name in enumerate(table.header)}
    missing = [name for name in columns if name not in places]
    if missing:
        raise DataError(f"{path} must have the columns {', '.join(columns)}, got no {', '.join(missing)}; add them")
    cells = [[row[places[name]] for name in columns] for row in table.rows]
    return [(line, found) for line, found in enumerate(cells, 2) if found[-1]]


def _image(cell: str, path: Path, line: int) -> str:
    name = cell.replace("\\", "/").removeprefix("./")
    if not name:
        raise DataError(
            f"{path} must name an image in every line with an answer, got none in line {line}; give a file below the "
            "source or an image id"
        )
    return name


def _facet(cell: str, path: Path, line: int) -> int:
    whole = cell.removesuffix(".0")  # as a program wrote it that takes whole numbers for others
    if not (whole.isascii() and whole.isdigit() and len(whole) < 5):
        raise DataError(
            f"{path} must have the number of a facet in every line, got {cell!r} in line {line}; correct it"
        )
    return int(whole)


def _same(cell: str, path: Path, line: int) -> bool:
    answer = _ANSWERS.get(cell.lower())
    if answer is None:
        raise DataError(
            f"{path} must say true or false in column {PAIR_COLUMNS[-1]}, got {cell!r} in line {line}; correct it"
        )
    return answer
