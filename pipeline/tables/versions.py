"""What a version consists of: records of its files, kept as JSON.

``manifest.json`` names the current version; ``versions/<n>.json`` describes one; the parts of its batches stand in
``lists/<hash>.json``, at most :data:`LIST_LENGTH` batches each. A list is named by its content and never changed, so
versions share the lists of old batches: adding a batch to many thousands writes one list and one short record.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import DataError
from pipeline.storage import write_json
from pipeline.tables.logical import combined_hash
from pipeline.tables.place import Place

LIST_LENGTH = 256

MANIFEST = "manifest.json"

_SCHEMA = 1


@dataclass(frozen=True)
class PartFile:
    """One Parquet file of a table.

    Attributes:
        file: path below ``published/<experiment>``.
        rows: how many.
        hash: logical hash of its rows.
        ids: logical hash of its column ``image_id``; without meaning where there is none.
        layout: name of its columns; files of one layout read as one table.
    """

    file: str
    rows: int
    hash: str
    ids: str
    layout: str


@dataclass(frozen=True)
class Entry:
    """The parts of one batch.

    Attributes:
        batch_id: of the batch.
        revision: the highest revision among its parts' folders; 0 for a batch that never changed.
        rows: images.
        parts: table name to file: ``facet_<j>``, ``images`` and, where a file was refused, ``quarantine``.
    """

    batch_id: str
    revision: int
    rows: int
    parts: Mapping[str, PartFile]


@dataclass(frozen=True)
class ListRef:
    """One list of entries."""

    file: str
    entries: int
    rows: int


@dataclass(frozen=True)
class Totals:
    """Sums over all images of one facet, exact so that batches can be added and taken away.

    Attributes:
        sizes: images per component.
        confidence: sum of confidences per component, in units of 2⁻²⁴.
    """

    sizes: tuple[int, ...]
    confidence: tuple[int, ...]


@dataclass(frozen=True)
class Version:
    """One version of all tables of an experiment.

    Attributes:
        version: its number, from 1.
        model_version: of the model that assigned every image in it.
        created: when, ISO 8601 in UTC.
        reason: ``publish``, ``rollback``, ``ingest`` or ``remove``.
        n_images: rows of ``images`` and of each facet.
        identity: file that holds the uids of all models.
        lists: of the batches' parts, in order.
        tables: small tables (``clusters``, ``batches``, ``lineage``) to their files.
        totals: one a facet.
        withdrawn: why it can no longer be read; None for a version that can.
        schema: of this record.
    """

    version: int
    model_version: str
    created: str
    reason: str
    n_images: int
    identity: str
    lists: tuple[ListRef, ...]
    tables: Mapping[str, PartFile]
    totals: tuple[Totals, ...]
    withdrawn: str | None = None
    schema: int = field(default=_SCHEMA)

    @property
    def n_facets(self) -> int:
        """How many facet tables there are."""
        return len(self.totals)

    @property
    def file(self) -> str:
        """Where the record lies."""
        return version_file(self.version)

    @property
    def content(self) -> str:
        """Hash of everything that readers see: equal for two versions that say the same."""
        tables = [self.tables[name].hash for name in sorted(self.tables)]
        return combined_hash(self.model_version, *(ref.file for ref in self.lists), *tables)


def version_file(version: int) -> str:
    """Return where the record of a version lies."""
    return f"versions/{version}.json"


def current_version(place: Place) -> int | None:
    """Return the number of the current version, or None before the first."""
    if not place.exists(MANIFEST):
        return None
    return int(_checked(place.json(MANIFEST), place.file(MANIFEST))["version"])


def load_version(place: Place, version: int | None = None) -> Version:
    """Return one version, by default the current one.

    Raises:
        DataError: there is none of that number, or it was withdrawn because images were removed.
    """
    newest = current_version(place)
    if newest is None:
        raise DataError(f"{place.location} must hold a published version, got none; run facets publish first")
    number = newest if version is None else version
    if not 1 <= number <= newest or not place.exists(version_file(number)):
        raise DataError(
            f"version must be one of those kept in {place.location}, newest {newest}, got {number}; leave it out for "
            "the newest"
        )
    record = _parse_version(_checked(place.json(version_file(number)), place.file(version_file(number))))
    if record.withdrawn is not None:
        raise DataError(f"version {number} must not be read any more: {record.withdrawn}; use version {newest}")
    return record


def load_history(published: Path) -> list[Version]:
    """Return every version that still has a record, the newest first, the withdrawn ones too."""
    place = Place(published)
    numbers = (int(path.stem) for path in (published / "versions").glob("[0-9]*.json"))
    records = [place.json(version_file(number)) for number in sorted(numbers, reverse=True)]
    return [_parse_version(_checked(record, str(published))) for record in records]


def load_entries(place: Place, version: Version) -> list[Entry]:
    """Return the parts of all batches of a version, in order."""
    return [entry for ref in version.lists for entry in load_list(place, ref)]


def load_list(place: Place, ref: ListRef) -> list[Entry]:
    """Return the entries of one list."""
    return [_parse_entry(entry) for entry in _checked(place.json(ref.file), place.file(ref.file))["entries"]]


def write_version(folder: Path, version: Version) -> None:
    """Write the record of a version below ``folder``."""
    write_json(folder / version.file, asdict(version))


def write_lists(folder: Path, entries: Sequence[Entry]) -> tuple[ListRef, ...]:
    """Write entries as lists below ``folder``."""
    return tuple(
        _write_list(folder, entries[start : start + LIST_LENGTH]) for start in range(0, len(entries), LIST_LENGTH)
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


def _write_list(folder: Path, entries: Sequence[Entry]) -> ListRef:
    record = {"schema": _SCHEMA, "entries": [asdict(entry) for entry in entries]}
    name = combined_hash(json.dumps(record, sort_keys=True))[:16]
    ref = ListRef(f"lists/{name}.json", len(entries), sum(entry.rows for entry in entries))
    write_json(folder / ref.file, record)
    return ref


def _parse_version(record: dict[str, Any]) -> Version:
    lists = tuple(ListRef(**ref) for ref in record["lists"])
    tables = {name: PartFile(**file) for name, file in record["tables"].items()}
    totals = tuple(Totals(tuple(facet["sizes"]), tuple(facet["confidence"])) for facet in record["totals"])
    return Version(**{**record, "lists": lists, "tables": tables, "totals": totals})


def _parse_entry(record: dict[str, Any]) -> Entry:
    parts = {name: PartFile(**part) for name, part in record["parts"].items()}
    return Entry(record["batch_id"], record["revision"], record["rows"], parts)


def _checked(record: Any, file: str) -> dict[str, Any]:
    if not isinstance(record, dict) or record.get("schema") != _SCHEMA:
        found = record.get("schema") if isinstance(record, dict) else type(record).__name__
        raise DataError(f"{file} must be a record of schema {_SCHEMA}, got {found}; publish again with this release")
    return record
