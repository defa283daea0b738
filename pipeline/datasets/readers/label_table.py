"""Tables of labels as people and programs write them: which column names files, and which file each line means."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from pipeline.core.errors import DataError
from pipeline.datasets.files.location import open_location

TABLES = ("labels.csv", "labels.tsv", "metadata.csv", "metadata.tsv")
"""Names under which a table of labels is looked for beside images, best first."""

_MOST_BYTES = 2**29
_DELIMITERS = ",;\t|"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_INDEX = re.compile(r"(?:Unnamed: ?\d+)?")
"""Headers of the column that data frames write beside their own: empty, or what an earlier reading made of that."""


@dataclass(frozen=True)
class LabelTable:
    """The cells of a table, without the spaces around them.

    Attributes:
        location: path or URL, for messages.
        header: names of the columns.
        rows: as many cells each.
    """

    location: str
    header: list[str]
    rows: list[list[str]]

    def columns(self) -> dict[str, Sequence[str]]:
        """Return all columns but one that merely counts the rows."""
        kept = [place for place in range(len(self.header)) if not self._counts_rows(place)]
        return {self.header[place]: [row[place] for row in self.rows] for place in kept}

    def of_files(self, names: Sequence[str]) -> dict[str, list[str]]:
        """Return the cells of every file; empty for a file without a line.

        The column that names files is the one that fits best: with paths as they lie below the folder, or with longer
        or shorter ones (``/data/birds/a/1.png`` or ``1.png`` for ``a/1.png``), or without their endings. The last is
        believed only where half as many files as there are lines, or as there are files, have their match: numbers in
        a table about something else are easily names, too, and those of classes name few files again and again.

        Args:
            names: paths below the folder, in the order wanted.

        Returns:
            the other columns: name to one cell a file.

        Raises:
            DataError: there is no other column, no column names files, or one file has lines that differ.
        """
        columns = self.columns()
        if len(columns) < 2:
            raise DataError(
                f"{self.location} must have a first line with a column of file names and at least one factor, "
                f"got {self.header}; add it"
            )
        column, found = self._files(columns, names)
        factors = {name: cells for name, cells in columns.items() if name != column}
        line_of: dict[str, int] = {}
        for line, name in enumerate(found):
            first = line_of.setdefault(name, line) if name else line
            if any(cells[first] != cells[line] for cells in factors.values()):
                raise DataError(
                    f"{self.location} must name a file once, got {name!r} again in line {line + 2}; remove one"
                )
        lines = [line_of.get(name) for name in names]
        return {name: ["" if line is None else cells[line] for line in lines] for name, cells in factors.items()}

    def _files(self, columns: Mapping[str, Sequence[str]], names: Sequence[str]) -> tuple[str, list[str | None]]:
        """Return the column that names files, and the file that every line means."""
        if not names:
            return next(iter(columns)), [None] * len(self.rows)
        loosest = partial(EndOfPath, without_ending=True)
        for kind in (_Exact, EndOfPath, loosest):  # made only where the one before fails
            match = kind(names)
            files = {
                column: [match(cell.replace("\\", "/").removeprefix("./")) for cell in cells]
                for column, cells in columns.items()
            }
            n_named = {column: len({name for name in files[column] if name}) for column in files}
            best = max(files, key=lambda column: n_named[column])
            fewest = min(len(self.rows), len(names)) / 2 if kind is loosest else 1
            if n_named[best] >= fewest:
                return best, files[best]
        column, cells = next(iter(columns.items()))
        raise DataError(
            f"{self.location} must name files as they lie below the folder, e.g. {names[0]!r}, "
            f"got {next(iter(cells), 'none')!r}; correct the column {column!r}"
        )

    def _counts_rows(self, place: int) -> bool:
        if not _INDEX.fullmatch(self.header[place]):
            return False
        return all(row[place].isdigit() for row in self.rows)


class _Exact:
    def __init__(self, names: Iterable[str]) -> None:
        self._names = set(names)

    def __call__(self, cell: str) -> str | None:
        return cell if cell in self._names else None


class EndOfPath:
    """The file whose path ends as a name does, or the other way round, if there is one alone.

    Args:
        names: paths of all files.
        without_ending: whether the names to look up have none.
    """

    def __init__(self, names: Iterable[str], *, without_ending: bool = False) -> None:
        self._whole: dict[str, str | None] = {}
        self._ends: dict[str, str | None] = {}
        for name in names:
            path = _without_ending(name) if without_ending else name
            self._whole[path] = None if path in self._whole else name
            while path := path.partition("/")[2]:
                self._ends[path] = None if path in self._ends else name

    def __call__(self, cell: str) -> str | None:
        """Return the path that a name means; None where it is none, or several."""
        tail = cell
        while tail:
            if tail in self._whole:
                return self._whole[tail]
            tail = tail.partition("/")[2]
        return self._ends.get(cell)


def _without_ending(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    stem, _, _ = name.rpartition(".")
    return f"{folder}{slash}{stem or name}"


def read_label_table(location: str, within: str | None = None) -> LabelTable:
    """Read a table with a first line of names: cells between commas, semicolons, tabs or bars; in UTF-8 or UTF-16.

    Args:
        location: path or URL.
        within: a folder above it that no link may lead out of, where nobody named it.

    Raises:
        DataError: the file is missing, too large or damaged, or a line has another number of cells than the first.
    """
    with open_location(location, within) as file:
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise DataError(f"{location} must be a CSV of at most {_MOST_BYTES} bytes, got more; leave other columns out")
    try:
        text = data.decode("utf-16" if data.startswith(_UTF_16) else "utf-8-sig")
        lines = _cells(text)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{location} must be a CSV in UTF-8 or UTF-16, but {error}; save it anew") from None
    if not lines:
        raise DataError(f"{location} must have a first line with the columns' names, got an empty file; fill it")
    header, *rows = lines
    if len(set(header)) != len(header):
        raise DataError(f"{location} must name each column once, got {header}; rename one")
    for line, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise DataError(
                f"{location} must have {len(header)} cells in every line, got {len(row)} in line {line}; mend it"
            )
    return LabelTable(location, header, rows)


def _cells(text: str) -> list[list[str]]:
    first, _, rest = text.partition("\n")
    if first.startswith("sep=") and len(first.rstrip("\r")) == 5:  # a spreadsheet's word about itself
        text, delimiter = rest, first[4]
    else:
        bare = re.sub(r'"[^"]*"', "", first)
        delimiter = max(_DELIMITERS, key=bare.count)  # the first of them where there is none
    found = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    return [[cell.strip() for cell in line] for line in found if line]
