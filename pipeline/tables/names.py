"""Human names for clusters and their groups: a small tracked CSV beside the parameters, ``names/<experiment>.csv``.

Columns: ``uid``, ``name``, ``note``, ``minted_by`` (the model version that the uid was made for). The header is the
schema: a column that a later release adds to the end of :data:`_HEADER` is empty in files that lack it, and columns of
newer releases, or of people's own, stay as they are. A uid names a cluster
of one particular history; if the published tables were made anew, the same uid may mean something else, so a row whose
``minted_by`` differs from the tables' is ignored.

People open the file in spreadsheets: a name or note that looks like a formula has an apostrophe in front there, and
only there. Both are one line of text.
"""

import csv
import unicodedata
import warnings
from collections.abc import Mapping
from pathlib import Path

from pipeline.core.errors import ConfigError, DataError
from pipeline.core.storage import atomic_file
from pipeline.tables.formula import as_text, from_text

_HEADER = ["uid", "name", "note", "minted_by"]
_REQUIRED = tuple(_HEADER[:4])  # those of the first release
_TEXTS = ("name", "note")
_CONTROL = {"Cc", "Cs", "Zl", "Zp"}
_TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # marks that reorder the text after them


def load_names(path: Path, minted_by: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return the names that apply: uid to name and note.

    Args:
        path: of the CSV; a missing file has no names.
        minted_by: uid to the model version that it was made for, as published.

    Raises:
        DataError: the file is no CSV with these columns.
    """
    rows = read_names(path)
    own = [row for row in rows if minted_by.get(row["uid"]) == row["minted_by"]]
    foreign = sorted(row["uid"] for row in rows if row not in own)
    if foreign:
        warnings.warn(
            f"{path} names clusters that were made in another history and are ignored: {', '.join(foreign)}; "
            "delete those rows or name the clusters again",
            stacklevel=2,
        )
    return {row["uid"]: (row["name"], row["note"]) for row in own if row["name"]}


def has_names(path: Path) -> bool:
    """Tell whether the CSV names any cluster of any history.

    Raises:
        DataError: the file is no CSV with these columns.
    """
    return any(row["minted_by"] for row in read_names(path))


def set_name(path: Path, uid: str, name: str, minted_by: Mapping[str, str], note: str = "") -> None:
    """Write a cluster's name into the CSV, in place of one that it may have; an empty name takes it away.

    Raises:
        ConfigError: the uid was never published, or name or note hold control characters.
    """
    if uid not in minted_by:
        raise ConfigError(
            f"a name needs a published cluster_uid or group_uid, got {uid!r}; look it up in table clusters or groups"
        )
    for what, text in (("name", name), ("note", note)):
        if _has_control(text):
            raise ConfigError(f"a {what} is one line of text without control characters, got {text!r}; leave them out")
    rows = {row["uid"]: row for row in read_names(path)}
    columns = list(dict.fromkeys([*_HEADER, *(column for row in rows.values() for column in row)]))
    old = rows.pop(uid, {})
    if name:
        rows[uid] = {**old, "uid": uid, "name": name, "note": note, "minted_by": minted_by[uid]}
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({**rows[key], **{text: as_text(rows[key][text]) for text in _TEXTS}} for key in sorted(rows))


def read_names(path: Path) -> list[dict[str, str]]:
    """Return the rows of the CSV as they are; none where there is no file.

    Raises:
        DataError: the file is no CSV with these columns.
    """
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or [])  # of an empty file they can be asked for only while it is open
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} must be a CSV in UTF-8, but {error}; mend it, or run facets check --repair") from None
    missing = [column for column in _REQUIRED if column not in columns]
    if missing:
        raise DataError(f"{path} must have the columns {', '.join(_REQUIRED)}, got no {', '.join(missing)}; add them")
    every = dict.fromkeys([*_HEADER, *columns])
    found = [{column: " ".join((row.get(column) or "").split()) for column in every} for row in rows]
    for row in found:
        if _has_control("".join(row.values())):
            raise DataError(f"{path} must be text without control characters, got {row!r}; mend it")
    return [{**row, **{text: from_text(row[text]) for text in _TEXTS}} for row in found]


def _has_control(text: str) -> bool:
    return any(unicodedata.category(char) in _CONTROL or char in _TURNING for char in text)
