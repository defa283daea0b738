"""A model becomes the one in service: every image gets its clusters from it, in one new version."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Literal

from pipeline.core.errors import PublishError
from pipeline.core.storage import disk_usage, require_free_space
from pipeline.table_format.schema import facet_table
from pipeline.tables.batches import batches_on_disk, kept_batches, lacks_images, updated_rows
from pipeline.tables.draft import Contents, Draft, Row
from pipeline.tables.engine import given_way, overlap, repeated_ids
from pipeline.tables.entries import BatchFiles, Built, EntryBuilder
from pipeline.tables.group_rows import group_rows, merge_rows
from pipeline.tables.identity import Identity, Overlap, lineage_rows
from pipeline.tables.lists import load_entries, write_lists
from pipeline.tables.model_folder import ModelFolder
from pipeline.tables.parts import require_assignment
from pipeline.tables.place import Place
from pipeline.tables.summary import add_totals, cluster_rows
from pipeline.tables.transaction import step
from pipeline.tables.versions import Entry, load_history


@dataclass(frozen=True)
class ModelPublication:
    """Which model to publish, and what with.

    Attributes:
        model_version: of a model that lies in ``models/``.
        batches: folder of the ingested batches.
        assigned: folders of assignments by this model, for ingested batches that did not join its training.
        removed: ids of images that must not be published.
        min_jaccard: what a new cluster needs to keep an old uid.
        reason: why.
    """

    model_version: str
    batches: Path
    assigned: Mapping[str, Path] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()
    min_jaccard: float = 0.0
    reason: Literal["publish", "rollback"] = "publish"


def unassigned_batches(published: Path, model_version: str, batches: Path) -> list[str]:
    """Return the ingested batches that a model must still assign before it can be published.

    Among them those of which some images gave way to others of the same content, as these may be gone by now.

    Args:
        published: folder of the experiment.
        model_version: of the model.
        batches: folder of the ingested batches; asked only where nothing is published yet.
    """
    draft = Draft(published, published)
    staged, entries = ModelFolder(published, model_version).assigned(), _entries_by(published, model_version)
    rows = {row["batch_id"]: row for row in draft.rows("batches")}

    def is_whole(batch_id: str) -> bool:
        return batch_id in entries and not lacks_images(rows[batch_id], entries[batch_id], batches)

    return [batch_id for batch_id in _live_batches(draft, batches) if batch_id not in staged and not is_whole(batch_id)]


def publish_model(published: Path, wanted: ModelPublication) -> None:
    """Publish a model for all images; where readers would see no difference, do nothing. Callers hold the lock.

    Raises:
        PublishError: an invariant is broken; readers still see the old version.
        DataError: a file is missing or damaged; likewise.
        ResourceError: the disk is full; likewise.
    """
    with step(published) as folder:
        _Publication(Draft(published, folder), wanted).make()


class _Publication:
    def __init__(self, draft: Draft, wanted: ModelPublication) -> None:
        self._draft, self._wanted = draft, wanted
        self._model = ModelFolder(draft.published, wanted.model_version)
        entries = [] if draft.current is None else load_entries(draft.place, draft.current)
        self._previous = {entry.batch_id: entry for entry in entries}
        self._same_model = _entries_by(draft.published, wanted.model_version)
        self._files = self._find_files()
        self._require_assignments()

    def make(self) -> None:
        self._require_space()
        self._files = self._give_way()
        overlaps = self._overlaps()
        identity = self._identify(overlaps)
        built = self._build(identity)
        entries = [batch.entry for batch in built if batch.entry is not None]
        self._require_unique(entries)
        totals = reduce(add_totals, [batch.totals for batch in built])
        joined = self._model.assigned().keys()
        sizes = {batch.entry.batch_id: (batch.entry, batch.sizes) for batch in built if batch.entry is not None}
        repeated = {files.batch_id: len(files.repeated) for files in self._files if files.repeated}
        clusters = cluster_rows(
            self._wanted.model_version,
            identity,
            totals,
            self._model.mixing_weights,
            [found.by_component() for found in built[0].exemplars],
            self._model.hinted,
        )
        tables = {
            "clusters": clusters,
            "groups": group_rows(self._wanted.model_version, identity, self._model.groups, clusters),
            "merges": merge_rows(self._wanted.model_version, identity, self._model.groups),
            "batches": updated_rows(self._draft.rows("batches"), sizes, joined, self._wanted.batches, repeated),
            "lineage": [*self._draft.rows("lineage"), *self._lineage(identity, overlaps)],
        }
        lists = write_lists(self._draft.folder, entries)
        self._draft.finish(self._wanted.reason, Contents(self._wanted.model_version, identity, lists, totals, tables))

    def _find_files(self) -> list[BatchFiles]:
        model, batches = self._model, self._wanted.batches
        assigned = model.assigned()
        lacking = [batch_id for batch_id in model.model["trained_on"] if batch_id not in assigned]
        if "train" not in assigned or lacking:
            raise PublishError(
                f"model {model.model_version} must come with assignments of everything it was trained on, got none of "
                f"{', '.join(lacking) or 'train'}; run facets rebuild"
            )
        staged = [
            BatchFiles(batch_id, folder, model.images, model.quarantine if batch_id == "train" else None)
            for batch_id, folder in assigned.items()
        ]
        live = [batch_id for batch_id in _live_batches(self._draft, batches) if batch_id not in assigned]
        return staged + [
            BatchFiles(
                batch_id,
                self._wanted.assigned.get(batch_id),
                batches / batch_id / "images.parquet",
                batches / batch_id / "quarantine.parquet",
            )
            for batch_id in live
        ]

    def _give_way(self) -> list[BatchFiles]:
        """Note what each ingested batch holds that the source, a joined batch or an earlier one holds, too.

        An image is published once: its row is that of the source, once that has it.
        """
        later = {files.batch_id: self._images_of(files) for files in self._files if files.images != self._model.images}
        repeated = given_way([self._model.images], list(later.values()), self._draft.folder)
        return [
            replace(files, repeated=repeated[later[files.batch_id]]) if later.get(files.batch_id) in repeated else files
            for files in self._files
        ]

    def _images_of(self, files: BatchFiles) -> Path:
        """Return the table of the images whose assignments are published."""
        if files.facets is None and files.batch_id in self._same_model:
            return self._draft.parts.locate(self._same_model[files.batch_id].parts["images"])
        return files.images

    def _require_assignments(self) -> None:
        for files in self._files:
            for facet, n_components in enumerate(self._model.n_components):
                if files.facets is not None:
                    path = files.facets / f"{facet_table(facet)}.parquet"
                    require_assignment(path, files.batch_id, self._wanted.model_version, n_components)

    def _require_space(self) -> None:
        folders = [files.facets for files in self._files if files.facets is not None]
        needed = sum(map(disk_usage, folders)) + self._model.images.stat().st_size
        require_free_space(self._draft.published, needed)

    def _overlaps(self) -> list[Overlap]:
        current = self._draft.current
        if current is None or self._wanted.model_version in self._draft.identity().maps:
            return []
        counts = zip((len(totals.sizes) for totals in current.totals), self._model.n_components, strict=False)
        result: list[Overlap] = []
        for facet, n_components in enumerate(counts):
            table = facet_table(facet)
            old = [self._draft.parts.locate(entry.parts[table]) for entry in self._previous.values()]
            new = {
                files.facets / f"{table}.parquet": files.repeated for files in self._files if files.facets is not None
            }
            result.append(overlap(old, new, n_components, self._draft.folder))
        return result

    def _identify(self, overlaps: Sequence[Overlap]) -> Identity:
        current, groups = self._draft.current, self._model.groups
        return self._draft.identity().with_model(
            self._wanted.model_version,
            self._model.n_components,
            None if groups is None else [facet.component_group for facet in groups.facets],
            served=None if current is None else current.model_version,
            overlaps=overlaps,
            min_jaccard=self._wanted.min_jaccard,
        )

    def _build(self, identity: Identity) -> list[Built]:
        model_version = self._wanted.model_version
        builder = EntryBuilder(self._draft.parts, model_version, identity.columns(model_version), self._wanted.removed)
        return [
            builder.build(files, self._previous.get(files.batch_id), self._same_model.get(files.batch_id))
            for files in self._files
        ]

    def _require_unique(self, entries: Sequence[Entry]) -> None:
        images = {entry.batch_id: entry.parts["images"] for entry in entries}
        before = {batch_id: entry.parts["images"] for batch_id, entry in self._previous.items()}
        # A subset of the images in service was found unique when it came in.
        if not images.items() <= before.items():
            repeated = repeated_ids([self._draft.parts.locate(part) for part in images.values()], self._draft.folder)
            if repeated:
                raise PublishError(
                    f"an image must be published once, got {', '.join(repeated)} in more than one row; run facets "
                    f"check {self._draft.published.name}"
                )

    def _lineage(self, identity: Identity, overlaps: Sequence[Overlap]) -> list[Row]:
        current = self._draft.current
        if current is None:
            return []
        old, new = (identity.columns(model) for model in (current.model_version, self._wanted.model_version))
        models = {"old_model": current.model_version, "new_model": self._wanted.model_version}
        versions = {"old_version": current.version, "new_version": self._draft.number}
        return [
            {"facet": facet, **row, **versions, **models}
            for facet, counts in enumerate(overlaps)
            for row in lineage_rows(counts, old[facet], new[facet])
        ]


def _live_batches(draft: Draft, batches: Path) -> list[str]:
    if draft.current is None:
        return batches_on_disk(batches)
    return kept_batches(draft.rows("batches"), batches)


def _entries_by(published: Path, model_version: str) -> dict[str, Entry]:
    """Return the entries of the newest version of a model, as far as their files are still there."""
    place = Place(published)
    versions = (version for version in load_history(published) if version.model_version == model_version)
    newest = next(versions, None)
    if newest is None:
        return {}
    return {
        entry.batch_id: entry
        for entry in load_entries(place, newest)
        if all((published / part.file).exists() for part in entry.parts.values())
    }
