"""Label factors of one's own data: names of folders, a CSV, or columns beside the images."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int32

from pipeline.core.errors import DataError
from pipeline.core.text import counted
from pipeline.datasets.readers.label_table import TABLES, read_label_table

INSIDE = "inside"
"""Value of ``preprocess.labels``: take columns beside the images, in files that have any."""

FOLDER = "folder"
"""Value of ``preprocess.labels``: the name of the folder that holds an image is its class."""

LONGEST_LABEL, LABEL_BYTES = 2**16, 2**28

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_TAKEN = ("image_id", "split", "occupied", "confidence")  # by labels.parquet and score/summary.json
_MOST = 2**31 - 1
_UNKNOWN = frozenset({"NaN", "nan"})
_WHOLE = re.compile(r"(?:-1|[0-9]{1,18})(?:\.0+)?")


@dataclass(frozen=True)
class Labels:
    """Values of every factor, one entry an image, -1 where unknown; and names of the values, where they have any."""

    values: dict[str, Int32[np.ndarray, " image"]] = field(default_factory=dict)
    class_names: dict[str, list[str]] = field(default_factory=dict)

    def rows(self, rows: Sequence[int] | slice) -> dict[str, Int32[np.ndarray, " _"]]:
        """Return the values of some images."""
        return {name: values[rows] for name, values in self.values.items()}

    def texts(self, factor: str) -> list[str]:
        """Return what every image is called in a factor; an empty text where that is unknown."""
        names, values = self.class_names.get(factor), self.values[factor].tolist()
        return ["" if value < 0 else str(value) if names is None else names[value] for value in values]


@dataclass(frozen=True)
class FoundLabels:
    """What ``preprocess.labels`` could be, from a first look.

    Attributes:
        value: for that parameter; None where there seem to be none.
        remarks: what is there and cannot be used, and why; one sentence each.
    """

    value: str | None
    remarks: tuple[str, ...] = ()


def encode_labels(columns: Mapping[str, Sequence[str | None]], where: str) -> Labels:
    """Return texts as label values.

    A factor whose texts are all whole numbers from 0 on keeps them, also where a program wrote ``3.0``; else each
    distinct text is a class, numbered in alphabetical order. Empty texts, None and NaN are unknown, and so is -1 among
    whole numbers.

    Raises:
        DataError: a factor's name cannot name a column, or a number is too large.
    """
    labels = Labels()
    for name, texts in columns.items():
        require_factor_name(name, where)
        known = {text for text in texts if text} - _UNKNOWN
        if known and all(map(_WHOLE.fullmatch, known)):
            codes = {text: int(text.partition(".")[0]) for text in known}
            if max(codes.values()) > _MOST:
                raise DataError(
                    f"{where}: values of {name} must be at most {_MOST}, got {max(codes.values())}; number the classes"
                )
        else:
            labels.class_names[name] = sorted(known)
            codes = {text: code for code, text in enumerate(labels.class_names[name])}
        labels.values[name] = np.array([codes.get(text, -1) if text else -1 for text in texts], np.int32)
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
    """Read a table one of whose columns names files and whose other columns are factors.

    Args:
        location: path or URL of the table.
        names: files in the folder, in the order wanted; those that the table leaves out get -1.
        within: a folder above the table that no link may lead out of, where nobody named it.

    Raises:
        DataError: the table is missing or damaged, says two things of one file, or names none of the files.
    """
    return encode_labels(read_label_table(location, within).of_files(names), location)


def find_tables(folder: str, names: Sequence[str]) -> FoundLabels:
    """Look for tables of labels in a local folder: the best one that names files, and why others are not used.

    Args:
        folder: where people put one; no link may lead out of it.
        names: files, as for :func:`labels_of_files`.
    """
    usable: dict[str, Labels] = {}
    remarks: list[str] = []
    for table in TABLES:
        path = f"{folder.rstrip('/')}/{table}"
        if os.path.lexists(path):
            try:
                usable[table] = labels_of_files(path, names, within=folder)
            except DataError as error:
                remarks.append(f"{table} is not used as labels: {error}")
    if not usable:
        return FoundLabels(None, tuple(remarks))
    used, *others = usable
    for other in others:
        remarks += [
            f"{other} says otherwise than {used} of {counted(n, 'image')}, in column {factor}; {used} is used, or name "
            "the other one in preprocess.labels"
            for factor, n in _differences(usable[used], usable[other]).items()
        ]
    return FoundLabels(used, tuple(remarks))


def _differences(one: Labels, other: Labels) -> dict[str, int]:
    """Return of how many images two tables say different things, by factor; a factor without any is left out."""
    counts = {
        factor: sum(a != b for a, b in zip(one.texts(factor), other.texts(factor), strict=True) if a and b)
        for factor in one.values.keys() & other.values.keys()
    }
    return {factor: n for factor, n in sorted(counts.items()) if n}


def labels_of_rows(location: str, n_images: int) -> Labels:
    """Read a table whose columns are factors and whose lines are the images of an array, in order.

    Raises:
        DataError: the table is missing or damaged or has another number of lines.
    """
    table = read_label_table(location)
    if len(table.rows) != n_images:
        raise DataError(
            f"{location} must have one line an image ({n_images}) below its first, got {len(table.rows)}; mend it"
        )
    return encode_labels(table.columns(), location)


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
