"""The next version while it is being made."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.core.errors import DataError
from pipeline.core.folder_seal import keep_copy
from pipeline.core.sealed import file_digest, require_intact, write_sealed
from pipeline.core.upgrades import IDENTITY
from pipeline.table_format.logical import combined_hash
from pipeline.table_format.schema import table_schema
from pipeline.table_format.writer import write_table
from pipeline.tables.content import update_content
from pipeline.tables.identity import Identity
from pipeline.tables.lists import load_list
from pipeline.tables.parts import PartWriter, read_rows
from pipeline.tables.place import REPAIR, Place
from pipeline.tables.summary import sizes_of
from pipeline.tables.transaction import plan
from pipeline.tables.verified import require_sound
from pipeline.tables.versions import (
    ListRef,
    PartFile,
    Totals,
    Version,
    current_version,
    load_version,
    parsed,
    write_version,
)

Row = dict[str, Any]


@dataclass(frozen=True)
class Contents:
    """What a version says.

    Attributes:
        model_version: of the model that assigned every image.
        identity: all uids, with those of this model.
        lists: of the parts of all batches.
        totals: one a facet.
        tables: rows of the small tables that may say something else than before; the others stay
            as they are. ``quarantine`` lists what was refused of deliveries without new images.
    """

    model_version: str
    identity: Identity
    lists: Sequence[ListRef]
    totals: Sequence[Totals]
    tables: Mapping[str, Sequence[Row]]


class Draft:
    """Collects the files of version n + 1 in the folder of a step.

    Args:
        published: folder of the experiment.
        folder: of the step (see :func:`pipeline.tables.transaction.step`).
    """

    def __init__(self, published: Path, folder: Path) -> None:
        self.published, self.folder = published, folder
        self.place = Place(published)
        number = current_version(self.place)
        self.current = None if number is None else load_version(self.place, number)
        self.number = (number or 0) + 1
        self.parts = PartWriter(published, folder)

    def identity(self) -> Identity:
        """Return the uids given so far."""
        return Identity() if self.current is None else load_identity(self.place, self.current)

    def rows(self, table: str) -> list[Row]:
        """Return the rows of a small table in the current version; none where an earlier release did not have it."""
        if self.current is None or table not in self.current.tables:
            return []
        require_sound(self.place, [self.current.tables[table]])
        return read_rows(self.published / self.current.tables[table].file)

    def finish(
        self,
        reason: str,
        contents: Contents,
        *,
        obsolete: Collection[str] = (),
        withdrawn: Mapping[int, str] | None = None,
    ) -> None:
        """Write the record of the new version and decide the step; there is none where readers would see no difference.

        Args:
            reason: why there is a new version.
            contents: what it says.
            obsolete: files to delete after the swap.
            withdrawn: versions that can no longer be read, and why.
        """
        version = Version(
            version=self.number,
            model_version=contents.model_version,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            reason=reason,
            n_images=sum(ref.rows for ref in contents.lists),
            identity=self._keep_identity(contents.identity),
            lists=tuple(contents.lists),
            tables=self._keep_tables(contents.tables),
            totals=tuple(contents.totals),
        )
        if self.current is None or version.content != self.current.content:
            write_version(self.folder, version)
            obsolete = {*obsolete, *self._keep_content(contents.lists)}
            plan(self.folder, self.number, obsolete=obsolete, withdrawn=withdrawn)
        elif withdrawn or obsolete:
            plan(self.folder, self.current.version, obsolete=obsolete, withdrawn=withdrawn)

    def _keep_content(self, lists: Sequence[ListRef]) -> set[str]:
        """Write what lets content be looked up in the new version; return the files that served the one before."""
        images: list[PartFile] = []
        for ref in lists:
            place = Place(self.folder) if (self.folder / ref.file).exists() else self.place
            images += [entry.parts["images"] for entry in load_list(place, ref)]
        return update_content(self.published, self.folder, images, self.parts.locate)

    def _keep_identity(self, identity: Identity) -> str:
        name = _identity_file(identity)
        return name if (self.published / name).exists() else write_identity(self.folder, identity)

    def _keep_tables(self, tables: Mapping[str, Sequence[Row]]) -> dict[str, PartFile]:
        before = {} if self.current is None else self.current.tables
        return {**before, **{name: self._keep_table(name, rows) for name, rows in tables.items()}}

    def _keep_table(self, name: str, rows: Sequence[Row]) -> PartFile:
        file = f"tables/{self.number}/{name}.parquet"
        schema = table_schema(name)
        (self.folder / file).parent.mkdir(parents=True, exist_ok=True)
        content = write_table(self.folder / file, schema, pa.Table.from_pylist(list(rows), schema).to_batches())
        existing = None if self.current is None else self.current.tables.get(name)
        if existing is not None and existing.hash == content.hash:
            (self.folder / file).unlink()
            return existing
        keep_copy(self.folder, file)
        return PartFile(file, **asdict(content), digest=file_digest(self.folder / file))


def updated_clusters(
    draft: Draft, totals: Sequence[Totals], exemplars: Sequence[Mapping[int, list[str]]] | None = None
) -> list[Row]:
    """Return the rows of ``clusters`` for other sums over the same model; exemplars stay unless there are new ones."""
    rows = draft.rows("clusters")
    for row in rows:
        facet, component = row["facet"], row["cluster_id"]
        row |= sizes_of(totals[facet], component)
        if exemplars is not None:
            row["exemplars"] = exemplars[facet].get(component, [])
    return rows


def load_identity(place: Place, version: Version) -> Identity:
    """Return all uids that were ever given up to a version.

    Raises:
        DataError: the file is missing, damaged, or says something else than its name.
    """
    name = place.file(version.identity)
    stored = require_intact(place.json(version.identity), name)
    record = IDENTITY.upgrade(stored, name)
    with parsed(name):
        said = {key: value for key, value in stored.items() if key != "checksum"}
        if _identity_name(said) != Path(version.identity).stem:
            raise DataError(f"{name} must say what its name stands for, but was changed; {REPAIR}")
        maps, groups = (
            {model: tuple(map(tuple, facets)) for model, facets in record[key].items()} for key in ("maps", "groups")
        )
        return Identity(tuple(record["next_number"]), maps, record["minted_by"], tuple(record["next_group"]), groups)


def write_identity(folder: Path, identity: Identity) -> str:
    """Write all uids below ``folder``, with a second copy, and return the file's name."""
    name = _identity_file(identity)
    write_sealed(folder / name, _identity_record(identity))
    keep_copy(folder, name)
    return name


def _identity_record(identity: Identity) -> dict[str, Any]:
    return IDENTITY.stamp(asdict(identity))


def _identity_file(identity: Identity) -> str:
    return f"identity/{_identity_name(_identity_record(identity))}.json"


def _identity_name(record: Mapping[str, Any]) -> str:
    return combined_hash(json.dumps(record, sort_keys=True))[:16]
