"""From the assignments of one batch to its parts."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import PublishError
from pipeline.table_format.schema import facet_schema, facet_table, table_schema
from pipeline.tables.model_folder import SOURCE_BATCHES
from pipeline.tables.parts import (
    SHARED,
    FacetUids,
    Observer,
    PartWriter,
    facet_rows,
    has_responsibilities,
    image_rows,
    observed,
    part_rows,
    quarantine_rows,
    revision_of,
    without,
)
from pipeline.tables.summary import Exemplars, Tally
from pipeline.tables.versions import Entry, PartFile, Totals


@dataclass(frozen=True)
class BatchFiles:
    """Where the rows of one batch come from.

    Attributes:
        batch_id: of the batch.
        facets: folder of its assignments; None where the model's parts of it are published already.
        images: file with the batch's rows of table ``images``.
        quarantine: file that lists what was refused of it; None where nothing was.
        repeated: ids of its images that are published with another batch.
    """

    batch_id: str
    facets: Path | None
    images: Path
    quarantine: Path | None
    repeated: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Built:
    """A batch's parts and the sums over their rows.

    Attributes:
        entry: None where no image is left.
        totals: one a facet.
        exemplars: one a facet.
    """

    entry: Entry | None
    totals: tuple[Totals, ...]
    exemplars: tuple[Exemplars, ...]

    @property
    def sizes(self) -> list[tuple[int, ...]]:
        """Images per facet and component."""
        return [totals.sizes for totals in self.totals]


@dataclass(frozen=True)
class EntryBuilder:
    """Builds the entries of one version.

    Attributes:
        writer: of the step.
        model_version: of the model that assigned.
        uids: of its components, one mapping a facet.
        removed: ids of images that must not come in.
    """

    writer: PartWriter
    model_version: str
    uids: Sequence[FacetUids]
    removed: Collection[str]

    def build(self, files: BatchFiles, previous: Entry | None, same_model: Entry | None) -> Built:
        """Return the parts of one batch; whatever says the same as before is kept.

        Args:
            files: of the rows.
            previous: the batch's entry in the current version.
            same_model: its newest entry by this very model.

        Raises:
            PublishError: the facets and the images do not list the same images in the same order.
            DataError: a file is missing or damaged.
        """
        revision = max((entry.revision for entry in (previous, same_model) if entry is not None), default=0)
        parts: dict[str, PartFile] = {}
        tallies = [Tally(len(uids["cluster_uid"])) for uids in self.uids]
        exemplars = [Exemplars() for _ in self.uids]
        for facet, tally in enumerate(tallies):
            existing = None if same_model is None else same_model.parts[facet_table(facet)]
            seen = [tally.add, exemplars[facet].add] if files.batch_id == "train" else [tally.add]
            parts[facet_table(facet)] = self._facet(files, facet, revision, existing, seen)
        first = parts[facet_table(0)]
        totals = tuple(tally.totals() for tally in tallies)
        if first.rows == 0:
            for part in parts.values():
                self.writer.discard(part)
            return Built(None, totals, tuple(exemplars))
        parts["images"] = self._images(files, revision, first.ids, [previous, same_model])
        _require_same_images(files.batch_id, parts)
        parts |= self._quarantine(files, revision, previous)
        entry = Entry(files.batch_id, max(map(revision_of, parts.values())), first.rows, parts)
        return Built(entry, totals, tuple(exemplars))

    def _facet(
        self, files: BatchFiles, facet: int, revision: int, existing: PartFile | None, seen: list[Observer]
    ) -> PartFile:
        if files.facets is None:
            if existing is None:
                raise PublishError(
                    f"batch {files.batch_id} must be assigned by model {self.model_version} before it is published, "
                    "got no assignments; run the command again"
                )
            path = self.writer.locate(existing)
            rows = observed(without(part_rows(path), files.repeated), seen)
            if files.repeated:
                schema = facet_schema(facet, responsibilities=has_responsibilities(path))
                return self.writer.write(self.model_version, files.batch_id, rows, schema, revision, existing)
            for _ in rows:  # they are only counted
                pass
            return existing
        path = files.facets / f"{facet_table(facet)}.parquet"
        schema = facet_schema(facet, responsibilities=has_responsibilities(path))
        rows = facet_rows(path, files.batch_id, self.model_version, self.uids[facet], self._gone(files))
        return self.writer.write(self.model_version, files.batch_id, observed(rows, seen), schema, revision, existing)

    def _gone(self, files: BatchFiles) -> Collection[str]:
        return {*self.removed, *files.repeated} if files.repeated else self.removed

    def _images(self, files: BatchFiles, revision: int, ids: str, known: Sequence[Entry | None]) -> PartFile:
        existing = [entry.parts["images"] for entry in known if entry is not None]
        # What an ingested batch says about its images is settled when it comes in; joining does not change it. Only its
        # ids may be of another release than those that the model at hand was published with.
        same = [part for part in existing if part.ids == ids and files.batch_id not in SOURCE_BATCHES]
        if same:
            return same[0]
        rows = image_rows(files.images, files.batch_id, self._gone(files))
        kept = existing[0] if existing else None
        return self.writer.write(SHARED, files.batch_id, rows, table_schema("images"), revision, kept)

    def _quarantine(self, files: BatchFiles, revision: int, previous: Entry | None) -> dict[str, PartFile]:
        existing = None if previous is None else previous.parts.get("quarantine")
        if files.quarantine is None or not files.quarantine.exists():
            return {} if existing is None or files.batch_id in SOURCE_BATCHES else {"quarantine": existing}
        rows = quarantine_rows(files.quarantine, files.batch_id)
        part = self.writer.write(SHARED, files.batch_id, rows, table_schema("quarantine"), revision, existing)
        if part.rows == 0:
            self.writer.discard(part)
            return {}
        return {"quarantine": part}


def _require_same_images(batch_id: str, parts: Mapping[str, PartFile]) -> None:
    expected = parts["images"]
    for table, part in parts.items():
        if (part.rows, part.ids) != (expected.rows, expected.ids):
            raise PublishError(
                f"batch {batch_id}: {table} must list the same images as table images in the same order, got "
                f"{part.rows} rows beside {expected.rows}; run stage assign, or ingest the batch, again"
            )
