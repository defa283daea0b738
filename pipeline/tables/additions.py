"""Ingested batches join the version in service."""

from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.core.errors import PublishError
from pipeline.core.image_ids import are_repeated
from pipeline.table_format.ids import content_hashes
from pipeline.tables.batches import Row, first_row, ingested, row_of
from pipeline.tables.content import PublishedContent
from pipeline.tables.draft import Contents, Draft, updated_clusters
from pipeline.tables.entries import BatchFiles, EntryBuilder
from pipeline.tables.group_rows import updated_groups
from pipeline.tables.lists import append_to_lists, load_entries
from pipeline.tables.parts import read_ids
from pipeline.tables.summary import add_totals
from pipeline.tables.transaction import step
from pipeline.tables.versions import Entry


def add_batches(
    published: Path, assigned: Mapping[str, Path], batches: Path, removed: frozenset[str] = frozenset()
) -> None:
    """Publish ingested batches in one new version; those already in are left alone. Callers hold the lock.

    Args:
        published: folder of the experiment.
        assigned: batch id to the folder of its assignments by the model in service.
        batches: folder of the ingested batches: each with ``batch.json``, ``images.parquet``, ``quarantine.parquet``.
        removed: ids of images that must not be published.

    Raises:
        PublishError: nothing is published yet, the assignments come from another model, or an image is already in.
        DataError: a file is missing or damaged.
    """
    with step(published) as folder:
        draft = Draft(published, folder)
        current = draft.current
        if current is None:
            raise PublishError(f"{published} must hold a version that batches can join, got none; run facets publish")
        rows = draft.rows("batches")
        wanted = [batch_id for batch_id in assigned if batch_id not in ingested(rows)]
        identity = draft.identity()
        builder = EntryBuilder(draft.parts, current.model_version, identity.columns(current.model_version), removed)
        built = [builder.build(_files_of(batch_id, assigned[batch_id], batches), None, None) for batch_id in wanted]
        entries = [batch.entry for batch in built if batch.entry is not None]
        if not entries:
            return
        _require_new(draft, entries)
        totals = reduce(add_totals, [batch.totals for batch in built], current.totals)
        new = {
            batch.entry.batch_id: row_of(batch.entry, batch.sizes, first_row(batch.entry, batches), "live")
            for batch in built
            if batch.entry is not None
        }
        clusters = updated_clusters(draft, totals)
        tables = {
            "clusters": clusters,
            "groups": updated_groups(draft.rows("groups"), clusters),
            "batches": [*(row for row in rows if row["batch_id"] not in new), *new.values()],
        }
        lists = append_to_lists(draft.place, folder, current.lists, entries)
        draft.finish("ingest", Contents(current.model_version, identity, lists, totals, tables))


def add_refused(published: Path, delivery: Row, refused: Sequence[tuple[str, str]]) -> None:
    """List a delivery without new images for what was refused of it; one that is listed is left alone.

    There is no shard that could list them, so the version does, in a small table beside the parts of the batches.

    Args:
        published: folder of the experiment.
        delivery: its row (see :func:`pipeline.tables.batches.empty_row`).
        refused: (file, reason).

    Raises:
        DataError: a file is missing or damaged.
    """
    with step(published) as folder:
        draft = Draft(published, folder)
        current, rows = draft.current, draft.rows("batches")
        if current is None or delivery["batch_id"] in {row["batch_id"] for row in rows}:
            return
        listed = [{"batch_id": delivery["batch_id"], "file": file, "reason": reason} for file, reason in refused]
        tables = {"batches": [*rows, delivery], "quarantine": [*draft.rows("quarantine"), *listed]}
        identity = draft.identity()
        draft.finish("ingest", Contents(current.model_version, identity, current.lists, current.totals, tables))


def _files_of(batch_id: str, assigned: Path, batches: Path) -> BatchFiles:
    folder = batches / batch_id
    return BatchFiles(batch_id, assigned, folder / "images.parquet", folder / "quarantine.parquet")


def _require_new(draft: Draft, entries: Sequence[Entry]) -> None:
    assert draft.current is not None
    columns = [read_ids(draft.parts.locate(entry.parts["images"])) for entry in entries]
    hashes = np.concatenate([content_hashes(ids) for ids in columns])
    published = [entry.parts["images"] for entry in load_entries(draft.place, draft.current)]
    is_repeated = PublishedContent(draft.published, published).has(hashes) | are_repeated(hashes)
    if is_repeated.any():
        repeated = pa.chunked_array(columns).filter(pa.array(is_repeated)).to_pylist()
        raise PublishError(
            f"an image must be published once, got {len(repeated)} that are already in, such as {min(repeated)}; leave "
            "them out of the batch"
        )
