"""Parts and kept assignments say the same twice: where one is damaged, the other gives it back."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Shaped

from pipeline.core.errors import PipelineError
from pipeline.core.folder_seal import rewriting
from pipeline.core.image_ids import short_ids
from pipeline.core.sealed import file_digest
from pipeline.core.storage import atomic_file
from pipeline.table_format.ids import id_column
from pipeline.table_format.logical import schema_layout
from pipeline.table_format.schema import SCHEMA_VERSION, columns_of, facet_schema, table_schema
from pipeline.table_format.writer import write_table
from pipeline.tables.draft import load_identity
from pipeline.tables.inventory import ListedPart, listed_parts
from pipeline.tables.lists import state_digests
from pipeline.tables.model_folder import SOURCE_BATCHES, ModelFolder
from pipeline.tables.parts import (
    Rows,
    facet_rows,
    has_responsibilities,
    image_rows,
    part_rows,
    part_schema,
    quarantine_rows,
)
from pipeline.tables.place import Place
from pipeline.tables.verified import fault_of, is_sound
from pipeline.tables.versions import PartFile

Assign = Callable[[str, str], Path]
"""From a batch and a model version to the folder of the batch's assignments, computed again."""


def restore_parts(published: Path, batches: Path, removed: frozenset[str], assign: Assign) -> None:
    """Write damaged parts again wherever the same rows can be had; the others stay as they are.

    Args:
        published: folder of the experiment.
        batches: folder of the ingested batches.
        removed: ids of images that must not come back.
        assign: for batches whose assignments were not kept.
    """
    damaged = [listed for listed in listed_parts(published) if fault_of(published, listed.part)]
    for listed in damaged:
        for rows, schema in _candidates(published, batches, removed, assign, listed):
            # A shard that was renewed since has ids of today for the images of a part of an earlier release.
            if any(_write_same(published, listed, change(rows()), schema) for change in (iter, _with_old_ids)):
                break


def restore_model_file(published: Path, model_version: str, name: str) -> bool:
    """Write a table that is kept with a model again, from parts that say the same; tell whether that could be done."""
    folder = ModelFolder(published, model_version).path
    found = _rows_of(published, model_version, Path(name))
    if found is None:
        return False
    rows, schema = found
    with rewriting(folder, [name]), atomic_file(folder / name) as temporary:
        write_table(temporary, schema, rows)
    return True


def restore_batch_file(
    published: Path, folder: Path, name: str, image_ids: Shaped[np.ndarray, " image"] | None
) -> bool:
    """Write ``images.parquet`` or ``quarantine.parquet`` of an ingested batch again; tell whether it could be done.

    Args:
        published: folder of the experiment.
        folder: of the batch.
        name: of the file.
        image_ids: of the images in its shard, which may be of a later release than those of the parts; None where the
            shard is damaged.
    """
    table = Path(name).stem
    parts = {listed.table: listed.part for listed in _newest(published, folder.name)}
    if "images" not in parts or (table in parts and not is_sound(published, parts[table])):
        return False
    if table == "images" and image_ids is not None and len(image_ids) != parts["images"].rows:
        return False
    with rewriting(folder, [name]), atomic_file(folder / name) as temporary:
        rows = part_rows(published / parts[table].file) if table in parts else iter(())
        if table == "images" and image_ids is not None:
            rows = _with_ids(rows, image_ids)
        write_table(temporary, table_schema(table), rows)
    return True


def _candidates(
    published: Path, batches: Path, removed: frozenset[str], assign: Assign, listed: ListedPart
) -> Iterator[tuple[Callable[[], Rows], pa.Schema]]:
    """Yield what gives the rows that a part may have had, from one source after the other."""
    batch_id, shard = listed.entry.batch_id, batches / listed.entry.batch_id
    if listed.table in ("images", "quarantine"):
        prepared = [folder / "prepared" for folder in sorted(published.glob("models/m-*"))]
        for folder in prepared if batch_id in SOURCE_BATCHES else [shard, *prepared]:
            path = folder / f"{listed.table}.parquet"
            if listed.table == "images":
                yield partial(image_rows, path, batch_id, removed), table_schema("images")
            else:
                yield partial(quarantine_rows, path, batch_id), table_schema("quarantine")
        return
    model_version = listed.version.model_version
    kept = ModelFolder(published, model_version).path / "assignments" / batch_id
    uids = load_identity(Place(published), listed.version).columns(model_version)
    facet = int(listed.table.removeprefix("facet_"))
    for find in (lambda: kept, lambda: assign(batch_id, model_version)):
        with suppress(PipelineError):
            path = find() / f"{listed.table}.parquet"
            schema = facet_schema(facet, responsibilities=has_responsibilities(path))
            yield partial(facet_rows, path, batch_id, model_version, uids[facet], removed), schema


def _write_same(published: Path, listed: ListedPart, rows: Rows, schema: pa.Schema) -> bool:
    """Write a part if the rows are those that it had."""
    path = published / listed.part.file
    with suppress(PipelineError, _OtherRows), atomic_file(path) as temporary:
        content = write_table(temporary, _as_laid_out(schema, listed.part.layout), rows)
        if PartFile(listed.part.file, **asdict(content)) != listed.part:
            raise _OtherRows
    if fault_of(published, replace(listed.part, digest="")):
        return False
    # Another release of pyarrow may write the same rows as other bytes.
    digest = file_digest(path)
    if digest != listed.part.digest:
        state_digests(published, listed.list, {listed.part.file: digest})
    return True


def _as_laid_out(schema: pa.Schema, layout: str) -> pa.Schema:
    """Return the columns that a part has, which an earlier release may have written; all where none such had these."""
    earlier = (columns_of(schema, version) for version in range(SCHEMA_VERSION, 0, -1))
    return next((some for some in earlier if schema_layout(some) == layout), schema)


class _OtherRows(Exception):
    """Leaves a file as it is."""


def _with_old_ids(rows: Rows) -> Rows:
    """Yield rows with the ids that earlier releases gave to their images."""
    for some in rows:
        if "image_id" in some.schema.names:
            some = _with_column(some, pa.array(short_ids(some.column("image_id").to_pylist()).tolist(), pa.string()))
        yield some


def _with_ids(rows: Rows, image_ids: Shaped[np.ndarray, " image"]) -> Rows:
    """Yield rows with other ids of their images, which are in the same order."""
    start = 0
    for some in rows:
        yield _with_column(some, id_column(image_ids[start : start + some.num_rows]))
        start += some.num_rows


def _with_column(rows: pa.RecordBatch, ids: pa.StringArray) -> pa.RecordBatch:
    place = rows.schema.get_field_index("image_id")
    return rows.set_column(place, rows.schema.field(place), ids)


def _rows_of(published: Path, model_version: str, name: Path) -> tuple[Rows, pa.Schema] | None:
    own = [listed for listed in listed_parts(published) if listed.version.model_version == model_version]
    if name.parts[0] == "assignments" and len(name.parts) == 3:
        found = [one for one in own if one.entry.batch_id == name.parts[1] and one.table == name.stem]
        if not found or not is_sound(published, found[0].part):
            return None
        path = published / found[0].part.file
        schema = facet_schema(int(name.stem.removeprefix("facet_")), uid=False, responsibilities="resp" in _names(path))
        return part_rows(path), schema
    if name.parts[0] != "prepared":
        return None
    model = ModelFolder(published, model_version)
    order = [*SOURCE_BATCHES, *model.model["trained_on"]]
    table = table_schema(name.stem)
    schema = table if name.stem == "images" else pa.schema([table.field("file"), table.field("reason")], table.metadata)
    wanted = order if name.stem == "images" else ["train"]
    parts = {one.entry.batch_id: one.part for one in reversed(own) if one.table == name.stem}  # the newest wins
    some = [parts[batch_id] for batch_id in dict.fromkeys(wanted) if batch_id in parts]
    if not all(is_sound(published, part) for part in some) or (name.stem == "images" and "train" not in parts):
        return None
    return (rows for part in some for rows in part_rows(published / part.file)), schema


def _names(path: Path) -> list[str]:
    return part_schema(path).names


def _newest(published: Path, batch_id: str) -> list[ListedPart]:
    """Return the parts of a batch in the newest version that has it."""
    listed = [one for one in listed_parts(published) if one.entry.batch_id == batch_id]
    newest = max((one.version.version for one in listed), default=0)
    return [one for one in listed if one.version.version == newest]
