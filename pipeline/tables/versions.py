"""What a version consists of: records of its files, kept as JSON.

``manifest.json`` names the current version; ``versions/<n>.json`` describes one; the parts of its batches stand in
lists (see :mod:`pipeline.tables.lists`). Records have checksums, lists and identities are named by their content, and
Parquet files are listed with the digest of their bytes: readers notice what was changed or damaged since.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from pipeline.core.errors import ConfigError, DataError
from pipeline.core.folder_seal import COPIES, keep_copy
from pipeline.core.sealed import require_intact, write_sealed
from pipeline.core.upgrades import MANIFEST as MANIFEST_FORM
from pipeline.core.upgrades import VERSION, Form
from pipeline.table_format.logical import combined_hash
from pipeline.tables.place import REPAIR, Place, due

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class PartFile:
    """One Parquet file of a table.

    Attributes:
        file: path below ``published/<experiment>``.
        rows: how many.
        hash: logical hash of its rows.
        ids: logical hash of its column ``image_id``; without meaning where there is none.
        layout: name of its columns; files of one layout read as one table.
        digest: of its bytes; empty where an earlier release wrote it.
    """

    file: str
    rows: int
    hash: str
    ids: str
    layout: str
    digest: str = field(default="", compare=False)


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
        tables: small tables (``clusters``, ``batches``, ``lineage``) to their files; ``quarantine`` here holds what was
            refused of deliveries without new images, where there were any.
        totals: one a facet.
        withdrawn: why it can no longer be read; None for a version that can.
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

    @property
    def state(self) -> str:
        """What tells a version from all others of its number, in any repository; withdrawing does not change it."""
        return combined_hash(self.created, self.content)


def version_file(version: int) -> str:
    """Return where the record of a version lies."""
    return f"versions/{version}.json"


def current_version(place: Place) -> int | None:
    """Return the number of the current version, or None before the first.

    Raises:
        DataError: the manifest is damaged, or gone although there are versions.
    """
    if not place.exists(MANIFEST):
        # Between its first files and the manifest, a step that was decided still lies there.
        if place.exists(f"{COPIES}/{MANIFEST}") and not place.exists(".next"):
            raise DataError(f"{place.file(MANIFEST)} must name the current version, but is missing; {REPAIR}")
        return None
    record = checked(place.json(MANIFEST), MANIFEST_FORM, place.file(MANIFEST))
    with parsed(place.file(MANIFEST)):
        return int(record["version"])


def _published_beside(place: Place) -> str:
    """Return in words which experiments are published beside one that is not, if any: a name may be mistyped."""
    if place.filesystem is not None:
        return ""
    names = sorted(path.parent.name for path in Path(place.location).parent.glob(f"*/{MANIFEST}"))
    return f" (published are {', '.join(names)})" if names else ""


def load_version(place: Place, version: int | None = None) -> Version:
    """Return one version, by default the current one.

    Raises:
        ConfigError: there is none of that number, or it was withdrawn because images were removed.
        DataError: nothing is published, or its record is damaged.
    """
    newest = current_version(place)
    if newest is None:
        raise DataError(
            f"{place.location} must hold a published version, got none; {due(place.location)}{_published_beside(place)}"
        )
    number = newest if version is None else version
    exists = place.exists(version_file(number))
    if number == newest and not exists:
        raise DataError(
            f"{place.file(version_file(number))} must describe the current version, but is missing; {REPAIR}"
        )
    if not 1 <= number <= newest or not exists:
        raise ConfigError(
            f"version must be one of those kept in {place.location}, newest {newest}, got {number}; leave it out for "
            "the newest"
        )
    record = read_version(place, number)
    if record.withdrawn is not None:
        if version is None:
            raise DataError(
                f"{place.location} must not point at version {number}, which is withdrawn: {record.withdrawn}; {REPAIR}"
            )
        raise ConfigError(f"version {number} must not be read any more: {record.withdrawn}; use version {newest}")
    return record


def read_version(place: Place, number: int) -> Version:
    """Return the record of a version, also of a withdrawn one.

    Raises:
        DataError: it is missing or damaged.
    """
    name = place.file(version_file(number))
    record = checked(place.json(version_file(number)), VERSION, name)
    with parsed(name):
        return _parse_version(record)


def load_history(published: Path) -> list[Version]:
    """Return every version that still has a record, the newest first, the withdrawn ones too."""
    place = Place(published)
    return [read_version(place, number) for number in numbers_kept(published)]


def numbers_kept(folder: Path) -> list[int]:
    """Return the numbers of all versions with a record below ``folder``, the newest first."""
    names = (path.stem for path in (folder / "versions").glob("[0-9]*.json"))
    return sorted((int(name) for name in names if name.isdigit()), reverse=True)


def write_version(folder: Path, version: Version) -> None:
    """Write the record of a version below ``folder``, with its second copy."""
    tables = {name: bare_part(part) for name, part in version.tables.items()}
    digests = {part.file: part.digest for part in version.tables.values() if part.digest}
    write_sealed(folder / version.file, VERSION.stamp({**asdict(version), "tables": tables, "digests": digests}))
    keep_copy(folder, version.file)


def bare_part(part: PartFile) -> dict[str, Any]:
    """Return a part as records hold it: its digest stands elsewhere, so that names follow from what the rows say."""
    return {key: value for key, value in asdict(part).items() if key != "digest"}


def parse_part(record: Mapping[str, Any], digests: Mapping[str, str]) -> PartFile:
    """Return a part as a record holds it, with its digest where one is known."""
    return PartFile(**{key: record[key] for key in _PART_KEYS}, digest=digests.get(record["file"], ""))


def checked(record: Any, form: Form, name: str) -> dict[str, Any]:
    """Return a record that is intact, in the form of today.

    Raises:
        DataError: it is damaged.
        ResourceError: a newer release wrote it.
    """
    return form.upgrade(require_intact(record, name), name)


@contextmanager
def parsed(name: str) -> Iterator[None]:
    """Report what is odd about a record that lacks a checksum.

    Raises:
        DataError: a key is missing or holds something else than it should.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise DataError(f"{name} must be a record of published tables, but {error!r}; {REPAIR}") from None


def _parse_version(record: dict[str, Any]) -> Version:
    lists = tuple(ListRef(**ref) for ref in record["lists"])
    digests: Mapping[str, str] = record.get("digests", {})
    tables = {name: parse_part(part, digests) for name, part in record["tables"].items()}
    totals = tuple(Totals(tuple(facet["sizes"]), tuple(facet["confidence"])) for facet in record["totals"])
    known = {key: record[key] for key in _VERSION_KEYS if key in record}
    return Version(**{**known, "lists": lists, "tables": tables, "totals": totals})


_PART_KEYS = tuple(key.name for key in fields(PartFile) if key.name != "digest")
_VERSION_KEYS = tuple(key.name for key in fields(Version))
