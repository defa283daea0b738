"""Images leave: from the tables, from every file that holds them, from the assignments kept with models."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pipeline.core.folder_seal import rewriting
from pipeline.core.storage import atomic_file
from pipeline.table_format.schema import facet_schema, facet_table, table_schema
from pipeline.table_format.writer import write_table
from pipeline.tables.batches import Row, removed_row, row_of
from pipeline.tables.draft import Contents, Draft, updated_clusters
from pipeline.tables.engine import files_with_content
from pipeline.tables.entries import Built
from pipeline.tables.group_rows import updated_groups
from pipeline.tables.lists import load_list, replace_in_lists
from pipeline.tables.parts import SHARED, Rows, has_responsibilities, observed, part_rows, revision_of, without
from pipeline.tables.summary import Exemplars, Tally, add_totals
from pipeline.tables.transaction import step
from pipeline.tables.versions import Entry, PartFile, Totals, Version, load_history


def withdraw_images(published: Path, removed: frozenset[str]) -> None:
    """Take images out of all tables, in one new version, and delete every file that holds them. Callers hold the lock.

    Batches that lose images get replacement parts with a new revision; every version that lists an old part is
    withdrawn. Images that are not there (any more) are no fault, so the whole list of removed images can be passed
    each time.

    Raises:
        DataError: a file is missing or damaged.
        ResourceError: the disk is full; nothing is changed.
    """
    with step(published) as folder:
        draft = Draft(published, folder)
        if draft.current is not None and removed:
            purge_models(published, removed)
            affected = _find(draft, removed)
            if affected.entries:
                _Withdrawal(draft, draft.current, removed, affected).make()


@dataclass(frozen=True)
class _Affected:
    """What holds removed images: entries by the list that they stand in, and the versions that use those lists."""

    entries: Sequence[tuple[str, Entry]]
    versions: Sequence[Version]


def _find(draft: Draft, removed: frozenset[str]) -> _Affected:
    # Also the lists of versions withdrawn before: their other parts are still there, for a rollback to their model.
    history = load_history(draft.published)
    refs = {ref.file: ref for version in history for ref in version.lists}
    entries = [(file, entry) for file, ref in refs.items() for entry in load_list(draft.place, ref)]
    files = {draft.published / entry.parts["images"].file for _, entry in entries}
    hit = set(files_with_content(sorted(file for file in files if file.exists()), sorted(removed), draft.folder))
    affected = [(file, entry) for file, entry in entries if draft.published / entry.parts["images"].file in hit]
    lists = {file for file, _ in affected}
    return _Affected(
        affected, [version for version in history if lists.intersection(ref.file for ref in version.lists)]
    )


class _Withdrawal:
    def __init__(self, draft: Draft, current: Version, removed: frozenset[str], affected: _Affected) -> None:
        self._draft, self._current, self._removed, self._affected = draft, current, removed, affected

    def make(self) -> None:
        draft, current = self._draft, self._current
        ours = {ref.file for ref in current.lists}
        mine = [entry for file, entry in self._affected.entries if file in ours]
        totals = current.totals
        changed: dict[str, Built] = {}
        exemplars = None
        for entry in mine:
            changed[entry.batch_id], before = self._replace(entry)
            totals = add_totals(add_totals(totals, before, sign=-1), changed[entry.batch_id].totals)
            if entry.batch_id == "train":
                exemplars = [best.by_component() for best in changed[entry.batch_id].exemplars]
        clusters = updated_clusters(draft, totals, exemplars)
        tables = {
            "clusters": clusters,
            "groups": updated_groups(draft.rows("groups"), clusters),
            "batches": [self._batch_row(row, changed) for row in draft.rows("batches")],
        }
        entries = {batch_id: built.entry for batch_id, built in changed.items()}
        lists = replace_in_lists(draft.place, draft.folder, current.lists, entries)
        contents = Contents(current.model_version, draft.identity(), lists, totals, tables)
        readable = [version for version in self._affected.versions if version.withdrawn is None]
        reasons = {version.version: "images in it were removed" for version in readable}
        draft.finish("remove", contents, obsolete=self._obsolete(), withdrawn=reasons)

    def _replace(self, entry: Entry) -> tuple[Built, tuple[Totals, ...]]:
        """Return a batch without the removed images, and the sums over its rows with them."""
        parts = dict(entry.parts)
        before, after = ([Tally(len(totals.sizes)) for totals in self._current.totals] for _ in range(2))
        exemplars = tuple(Exemplars() for _ in before)
        for facet, (whole, left, best) in enumerate(zip(before, after, exemplars, strict=True)):
            table = facet_table(facet)
            path = self._draft.published / parts[table].file
            rows = observed(without(observed(part_rows(path), [whole.add]), self._removed), [left.add, best.add])
            schema = facet_schema(facet, responsibilities=has_responsibilities(path))
            parts[table] = self._write(self._current.model_version, entry, rows, schema)
        path = self._draft.published / parts["images"].file
        parts["images"] = self._write(SHARED, entry, without(part_rows(path), self._removed), table_schema("images"))
        replaced = None
        if parts["images"].rows:
            revision = max(map(revision_of, parts.values()))
            replaced = Entry(entry.batch_id, revision, parts["images"].rows, parts)
        else:
            for part in parts.values():
                self._draft.parts.discard(part)
        built = Built(replaced, tuple(tally.totals() for tally in after), exemplars)
        return built, tuple(tally.totals() for tally in before)

    def _write(self, owner: str, entry: Entry, rows: Rows, schema: pa.Schema) -> PartFile:
        return self._draft.parts.write(owner, entry.batch_id, rows, schema, entry.revision + 1, None)

    def _batch_row(self, row: Row, changed: Mapping[str, Built]) -> Row:
        if row["batch_id"] not in changed:
            return row
        built = changed[row["batch_id"]]
        return removed_row(row) if built.entry is None else row_of(built.entry, built.sizes, row, row["status"])

    def _obsolete(self) -> set[str]:
        # What was quarantined holds no image, and other entries of the batch may share that part.
        parts = {
            part.file
            for _, entry in self._affected.entries
            for table, part in entry.parts.items()
            if table != "quarantine"
        }
        # Their tables of clusters name removed images as exemplars.
        withdrawn = {version.version for version in self._affected.versions}
        clusters = {version.tables["clusters"].file for version in self._affected.versions}
        others = {
            version.tables["clusters"].file
            for version in load_history(self._draft.published)
            if version.version not in withdrawn
        }
        return parts | (clusters - others)


def purge_models(published: Path, removed: frozenset[str]) -> None:
    """Rewrite the assignments and image lists kept with models, where they hold removed images."""
    files = [
        *published.glob("models/*/assignments/*/facet_*.parquet"),
        *published.glob("models/*/prepared/images.parquet"),
    ]
    with tempfile.TemporaryDirectory() as scratch:
        found = files_with_content(sorted(files), sorted(removed), Path(scratch))
    models = sorted({published / "models" / path.relative_to(published / "models").parts[0] for path in found})
    for model in models:
        own = [path for path in found if path.is_relative_to(model)]
        with rewriting(model, [str(path.relative_to(model)) for path in own]):
            _rewrite_without(own, removed)


def _rewrite_without(files: Sequence[Path], removed: frozenset[str]) -> None:
    for path in files:
        if path.name == "images.parquet":
            schema = table_schema("images")
        else:
            facet = int(path.stem.removeprefix("facet_"))
            schema = facet_schema(facet, uid=False, responsibilities=has_responsibilities(path))
        with atomic_file(path) as temporary:
            write_table(temporary, schema, without(part_rows(path), removed))
