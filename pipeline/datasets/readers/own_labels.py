"""Label factors of one's own data: names of folders, a CSV, or columns beside the images."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int32

from pipeline.core.errors import DataError
from pipeline.datasets.files.location import open_location

INSIDE = "inside"
"""Value of ``preprocess.labels``: take columns beside the images, in files that have any."""

FOLDER = "folder"
"""Value of ``preprocess.labels``: the name of the folder that holds an image is its class."""

LONGEST_LABEL, LABEL_BYTES = 2**16, 2**28

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_TAKEN = ("image_id", "split", "occupied", "confidence")  # by labels.parquet and score/summary.json
_MOST = 2**31 - 1
_MOST_CSV = 2**29


@dataclass(frozen=True)
class Labels:
    """Values of every factor, one entry an image, -1 where unknown; and names of the values, where they have any."""

    values: dict[str, Int32[np.ndarray, " image"]] = field(default_factory=dict)
    class_names: dict[str, list[str]] = field(default_factory=dict)

    def rows(self, rows: Sequence[int] | slice) -> dict[str, Int32[np.ndarray, " _"]]:
        """Return the values of some images."""
        return {name: values[rows] for name, values in self.values.items()}


def encode_labels(columns: Mapping[str, Sequence[str | None]], where: str) -> Labels:
    """Return texts as label values.

    A factor whose texts are all whole numbers from 0 on keeps them; else each distinct text is a class, numbered in
    alphabetical order. Empty texts and None are unknown.

    Raises:
        DataError: a factor's name cannot name a column, or a number is too large.
    """
    labels = Labels()
    for name, texts in columns.items():
        require_factor_name(name, where)
        known = {text for text in texts if text}
        if known and all(text.isascii() and text.isdigit() for text in known):
            codes = {text: int(text) for text in known}
            if max(codes.values()) > _MOST:
                raise DataError(
                    f"{where}: values of {name} must be at most {_MOST}, got {max(codes.values())}; number the classes"
                )
        else:
            labels.class_names[name] = sorted(known)
            codes = {text: code for code, text in enumerate(labels.class_names[name])}
        labels.values[name] = np.array([codes[text] if text else -1 for text in texts], np.int32)
    return labels


def require_factor_name(name: str, where: str) -> None:
    """Check that a factor can be a column of ``labels.parquet``.

    Raises:
        DataError: it cannot.
    """
    if not _NAME.fullmatch(name) or name in _TAKEN:
        raise DataError(
            f"{where}: a factor's name must be letters, digits and _ and none of {', '.join(_TAKEN)}, got {name!r}; "
            "rename the column"
        )


def labels_of_files(location: str, names: Sequence[str], within: str | None = None) -> Labels:
    """Read a CSV whose first column names files and whose other columns are factors.

    Args:
        location: path or URL of the CSV.
        names: files in the folder, in the order wanted; those that the CSV leaves out get -1.
        within: a folder above the CSV that no link may lead out of, where nobody named it.

    Raises:
        DataError: the CSV is missing or damaged, names a file twice, or names none of the files.
    """
    header, rows = _read_csv(location, within)
    if len(header) < 2:
        raise DataError(
            f"{location} must have a first line with a column of file names and at least one factor, "
            f"got {header}; add it"
        )
    table: dict[str, list[str]] = {}
    for line, row in enumerate(rows, 2):
        name = row[0].removeprefix("./")
        if table.setdefault(name, row) != row:
            raise DataError(f"{location} must name a file once, got {name!r} again in line {line}; remove one")
    if names and not any(name in table for name in names):
        raise DataError(
            f"{location} must name files as they lie below the folder, e.g. {names[0]!r}, "
            f"got {next(iter(table), 'none')!r}; correct the first column"
        )
    unknown = [""] * len(header)
    columns = list(zip(*(table.get(name, unknown)[1:] for name in names), strict=True)) or [()] * (len(header) - 1)
    return encode_labels(dict(zip(header[1:], columns, strict=True)), location)


def labels_of_rows(location: str, n_images: int) -> Labels:
    """Read a CSV whose columns are factors and whose lines are the images of an array, in order.

    Raises:
        DataError: the CSV is missing or damaged or has another number of lines.
    """
    header, rows = _read_csv(location)
    if len(rows) != n_images:
        raise DataError(
            f"{location} must have one line an image ({n_images}) below its first, got {len(rows)}; mend it"
        )
    columns = list(zip(*rows, strict=True)) or [()] * len(header)
    return encode_labels(dict(zip(header, columns, strict=True)), location)


def labels_of_folders(names: Sequence[str]) -> Labels:
    """Return factor ``folder``: the name of the folder that holds each file; -1 directly below the root."""
    return encode_labels({"folder": [name.rpartition("/")[0].rpartition("/")[2] for name in names]}, "folders")


def could_be_classes(names: Sequence[str]) -> bool:
    """Tell whether the folders of files could be classes: there are several, of two files and more on average."""
    return 1 < len({name.rpartition("/")[0] for name in names}) <= len(names) // 2


def labels_too_long(name: str) -> DataError:
    """Return the error for labels of more than :data:`LONGEST_LABEL` characters or :data:`LABEL_BYTES`."""
    return DataError(
        f"{name} must hold labels of at most {LONGEST_LABEL} characters and {LABEL_BYTES} bytes in all, got more; "
        "use short names, a CSV or null"
    )


def _read_csv(location: str, within: str | None = None) -> tuple[list[str], list[list[str]]]:
    with open_location(location, within) as file:
        data = file.read(_MOST_CSV + 1)
    if len(data) > _MOST_CSV:
        raise DataError(f"{location} must be a CSV of at most {_MOST_CSV} bytes, got more; leave other columns out")
    try:
        lines = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{location} must be a CSV in UTF-8, but {error}; save it anew") from None
    lines = [line for line in lines if line]
    if not lines:
        raise DataError(f"{location} must have a first line with the columns' names, got an empty file; fill it")
    header, *rows = ([cell.strip() for cell in line] for line in lines)
    if len(set(header)) != len(header):
        raise DataError(f"{location} must name each column once, got {header}; rename one")
    for line, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise DataError(
                f"{location} must have {len(header)} cells in every line, got {len(row)} in line {line}; mend it"
            )
    return header, rows
