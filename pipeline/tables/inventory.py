"""Every file of every published version that is still kept: which are damaged, and what second copies can mend.

Parts are large and can be computed again (:mod:`pipeline.tables.restore`); all other files have a second copy.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pipeline.core.errors import DataError
from pipeline.core.folder_seal import COPIES, copy_of, keep_copy
from pipeline.core.sealed import copy_bytes, file_digest, is_sealed, write_sealed
from pipeline.tables.draft import load_identity
from pipeline.tables.lists import load_list, state_digests
from pipeline.tables.place import Place
from pipeline.tables.verified import fault_of, is_sound
from pipeline.tables.versions import (
    MANIFEST,
    Entry,
    ListRef,
    PartFile,
    Version,
    current_version,
    numbers_kept,
    read_version,
    version_file,
    write_version,
)


@dataclass(frozen=True)
class ListedPart:
    """A part, and what it belongs to.

    Attributes:
        version: newest version that lists it.
        list: that holds its entry.
        entry: of its batch.
        table: which table of the batch.
        part: itself.
    """

    version: Version
    list: ListRef
    entry: Entry
    table: str
    part: PartFile


@dataclass(frozen=True)
class _Copied:
    """A file with a second copy, and what reads it; both raise no error exactly where it is right."""

    file: str
    read: Callable[[Place], object]
    is_record: bool = True

    def is_right(self, folder: Path) -> bool:
        try:
            self.read(Place(folder))
        except DataError:
            return False
        return True

    def has_checksum(self, folder: Path) -> bool:
        return not self.is_record or is_sealed(Place(folder).json(self.file))


def record_faults(published: Path) -> list[str]:
    """Return what is wrong with manifest, records, lists, identities, small tables and their second copies."""
    found: list[str] = []
    for item in _copied_files(published):
        main, copy = published / item.file, copy_of(published, item.file)
        is_right, copy_is_right = _judge(published, item)
        if not is_right:
            state = "is damaged" if main.exists() else "is missing"
            found.append(f"{main} {state}" + ("" if copy_is_right else f", and {copy} is no whole copy of it"))
        elif not copy_is_right or main.read_bytes() != copy.read_bytes():
            found.append(f"{copy} must be a copy of {main}, but is missing or differs")
    return found


def mend_records(published: Path) -> None:
    """Replace a damaged copy by the intact one; what an earlier release wrote gets both copies."""
    # Which lists there are is known once the records of versions are right, and so on.
    for item in _copied_files(published):
        is_right, copy_is_right = _judge(published, item)
        if not is_right and copy_is_right:
            copy_bytes(copy_of(published, item.file), published / item.file)
        elif is_right:
            _add_checksums(published, item)
            keep_copy(published, item.file)


def listed_parts(published: Path) -> Iterator[ListedPart]:
    """Yield the parts of all versions, the newest first, each once; of what is damaged as far as a copy tells."""
    seen: set[str] = set()
    for version in _versions(published):
        for ref in version.lists:
            for entry in _entries(published, ref):
                for table, part in entry.parts.items():
                    # The parts of a withdrawn version that lost images are gone on purpose.
                    is_due = version.withdrawn is None or (published / part.file).exists()
                    if part.file not in seen and is_due:
                        seen.add(part.file)
                        yield ListedPart(version, ref, entry, table, part)


def part_faults(published: Path) -> list[str]:
    """Return what is wrong with the parts of all versions."""
    return [fault for listed in listed_parts(published) if (fault := fault_of(published, listed.part))]


def _with_digest(part: PartFile, digests: dict[str, str]) -> PartFile:
    return replace(part, digest=digests.get(part.file, part.digest))


def _copied_files(published: Path) -> Iterator[_Copied]:
    yield _Copied(MANIFEST, _require_current)
    seen: set[str] = set()
    for number in _numbers(published):
        yield _Copied(version_file(number), partial(_read_version, number=number))
        version = _version(published, number)
        if version is None:
            continue
        items = [_Copied(version.identity, partial(load_identity, version=version))]
        items += [_Copied(ref.file, partial(load_list, ref=ref)) for ref in version.lists]
        items += [_Copied(part.file, partial(_require_table, part=part), False) for part in version.tables.values()]
        for item in items:
            is_due = version.withdrawn is None or (published / item.file).exists()
            if item.file not in seen and is_due:
                seen.add(item.file)
                yield item


def _judge(published: Path, item: _Copied) -> tuple[bool, bool]:
    """Tell of a file and its second copy which is right; one without a checksum is not, beside one that has it."""
    copies = published / COPIES
    is_right, copy_is_right = item.is_right(published), item.is_right(copies)
    if is_right and copy_is_right and item.has_checksum(published) != item.has_checksum(copies):
        return item.has_checksum(published), item.has_checksum(copies)
    return is_right, copy_is_right


def _add_checksums(published: Path, item: _Copied) -> None:
    if item.has_checksum(published):
        return
    record = Place(published).json(item.file)
    if "entries" in record:
        ref = ListRef(item.file, 0, 0)
        parts = [part for entry in load_list(Place(published), ref) for part in entry.parts.values()]
        state_digests(published, ref, _digests(published, parts))
    elif "lists" in record:
        version = read_version(Place(published), record["version"])
        digests = _digests(published, list(version.tables.values()))
        tables = {name: _with_digest(part, digests) for name, part in version.tables.items()}
        write_version(published, replace(version, tables=tables))
    else:
        write_sealed(published / item.file, record)


def _digests(published: Path, parts: list[PartFile]) -> dict[str, str]:
    return {part.file: file_digest(published / part.file) for part in parts if is_sound(published, part)}


def _numbers(published: Path) -> list[int]:
    return sorted({*numbers_kept(published), *numbers_kept(published / COPIES)}, reverse=True)


def _versions(published: Path) -> list[Version]:
    return [found for number in _numbers(published) if (found := _version(published, number)) is not None]


def _version(published: Path, number: int) -> Version | None:
    for folder in (published, published / COPIES):
        with suppress(DataError):
            return read_version(Place(folder), number)
    return None


def _entries(published: Path, ref: ListRef) -> list[Entry]:
    for folder in (published, published / COPIES):
        with suppress(DataError):
            return load_list(Place(folder), ref)
    return []


def _read_version(place: Place, number: int) -> Version:
    version = read_version(place, number)
    if version.version != number:
        raise DataError(f"{place.file(version_file(number))} must describe version {number}, got {version.version}")
    return version


def _require_current(place: Place) -> None:
    if current_version(place) is None:
        raise DataError(f"{place.file(MANIFEST)} is missing")


def _require_table(place: Place, part: PartFile) -> None:
    fault = fault_of(Path(place.location), part)
    if fault:
        raise DataError(fault)
