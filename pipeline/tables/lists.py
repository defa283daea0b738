"""Lists of the parts of batches: ``lists/<hash>.json``, at most :data:`LIST_LENGTH` batches each.

A list is named by what it says and never changed, so versions share the lists of old batches: adding a batch to many
thousands writes one list and one short record. Beside the entries stand the digests of the files' bytes, which the name
does not depend on: equal rows may one day be other bytes.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.core.errors import DataError
from pipeline.core.folder_seal import keep_copy
from pipeline.core.sealed import require_intact, write_sealed
from pipeline.core.upgrades import LIST
from pipeline.table_format.logical import combined_hash
from pipeline.tables.place import Place
from pipeline.tables.versions import (
    Entry,
    ListRef,
    Version,
    bare_part,
    parse_part,
    parsed,
)

LIST_LENGTH = 256

_NOT_NAMED = ("checksum", "digests")
"""Keys that a list's name does not depend on."""


def load_entries(place: Place, version: Version) -> list[Entry]:
    """Return the parts of all batches of a version, in order."""
    return [entry for ref in version.lists for entry in load_list(place, ref)]


def load_list(place: Place, ref: ListRef) -> list[Entry]:
    """Return the entries of one list.

    Raises:
        DataError: it is missing, damaged, or says something else than its name.
    """
    name = place.file(ref.file)
    stored = require_intact(place.json(ref.file), name)
    record = LIST.upgrade(stored, name)
    with parsed(name):
        said = {key: value for key, value in stored.items() if key not in _NOT_NAMED}
        if _name(said) != Path(ref.file).stem:
            raise DataError(f"{name} must say what its name stands for, but was changed; run facets check --repair")
        digests: Mapping[str, str] = record.get("digests", {})
        return [_parse_entry(entry, digests) for entry in record["entries"]]


def write_lists(folder: Path, entries: Sequence[Entry]) -> tuple[ListRef, ...]:
    """Write entries as lists below ``folder``."""
    return tuple(
        write_list(folder, entries[start : start + LIST_LENGTH]) for start in range(0, len(entries), LIST_LENGTH)
    )


def append_to_lists(
    place: Place, folder: Path, lists: Sequence[ListRef], entries: Sequence[Entry]
) -> tuple[ListRef, ...]:
    """Return ``lists`` with more entries at the end; only the last list, if it has room, is replaced."""
    kept = list(lists)
    tail: list[Entry] = []
    if kept and kept[-1].entries < LIST_LENGTH:
        tail = load_list(place, kept.pop())
    return (*kept, *write_lists(folder, [*tail, *entries]))


def replace_in_lists(
    place: Place, folder: Path, lists: Sequence[ListRef], changed: Mapping[str, Entry | None]
) -> tuple[ListRef, ...]:
    """Return ``lists`` with the entries of some batches exchanged, or left out where ``changed`` says None."""
    result: list[ListRef] = []
    for ref in lists:
        entries = load_list(place, ref)
        if changed.keys().isdisjoint(entry.batch_id for entry in entries):
            result.append(ref)
            continue
        replaced = (changed.get(entry.batch_id, entry) for entry in entries)
        result.extend(write_lists(folder, [entry for entry in replaced if entry is not None]))
    return tuple(result)


def write_list(folder: Path, entries: Sequence[Entry]) -> ListRef:
    """Write one list below ``folder``, with its second copy."""
    said = LIST.stamp({"entries": [_bare_entry(entry) for entry in entries]})
    ref = ListRef(f"lists/{_name(said)}.json", len(entries), sum(entry.rows for entry in entries))
    digests = {part.file: part.digest for entry in entries for part in entry.parts.values() if part.digest}
    write_sealed(folder / ref.file, {**said, "digests": digests})
    keep_copy(folder, ref.file)
    return ref


def state_digests(published: Path, ref: ListRef, digests: Mapping[str, str]) -> None:
    """Let a list state other digests for some of its parts, whose rows are the same; its name and its form stay."""
    stored = Place(published).json(ref.file)
    write_sealed(published / ref.file, {**stored, "digests": {**stored.get("digests", {}), **digests}})
    keep_copy(published, ref.file)


def files_of(place: Place, versions: Iterable[Version]) -> set[str]:
    """Return every file that any of the versions needs, their own records apart."""
    files: set[str] = set()
    for version in versions:
        files.add(version.identity)
        files.update(table.file for table in version.tables.values())
        for ref in version.lists:
            if ref.file not in files:
                files.add(ref.file)
                files.update(part.file for entry in load_list(place, ref) for part in entry.parts.values())
    return files


def _name(said: Mapping[str, Any]) -> str:
    return combined_hash(json.dumps(said, sort_keys=True))[:16]


def _bare_entry(entry: Entry) -> dict[str, Any]:
    parts = {table: bare_part(part) for table, part in entry.parts.items()}
    return {"batch_id": entry.batch_id, "revision": entry.revision, "rows": entry.rows, "parts": parts}


def _parse_entry(record: dict[str, Any], digests: Mapping[str, str]) -> Entry:
    parts = {name: parse_part(part, digests) for name, part in record["parts"].items()}
    return Entry(record["batch_id"], record["revision"], record["rows"], parts)
