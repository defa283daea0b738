"""Parts: the Parquet files of one batch, written once under a name that is never used again.

``parts/<model_version>/<batch_id>[.<r>]/facet_<j>.parquet`` hold the rows of a facet;
``parts/shared/<batch_id>[.<r>]/`` the tables that no model has a say in (``images``, ``quarantine``). When a batch says
something else than before (an image was removed, the source changed), the new file goes into a folder of a higher
revision ``r``.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.errors import PublishError
from pipeline.core.image_ids import SHORT_ID, ContentSet
from pipeline.core.parquet import open_parquet, read_columns, require_columns
from pipeline.core.sealed import file_digest
from pipeline.core.upgrades import require_known
from pipeline.table_format.build import constant_column
from pipeline.table_format.ids import content_hashes
from pipeline.table_format.schema import (
    ROW_GROUP,
    SCHEMA_VERSION,
    columns_of,
    completed,
    facet_schema,
    schema_version,
    table_schema,
)
from pipeline.table_format.writer import write_table
from pipeline.tables.versions import PartFile

SHARED = "shared"

Rows = Iterator[pa.RecordBatch]
FacetUids = Mapping[str, Sequence[str]]
"""Of one facet: a column's name to what it says of each component."""
Observer = Callable[[pa.RecordBatch], None]


class PartWriter:
    """Writes the parts of one step.

    Args:
        published: folder of the experiment, for looking up names in use.
        folder: of the step, laid out as below ``published``.
    """

    def __init__(self, published: Path, folder: Path) -> None:
        self._published, self._folder = published, folder

    def write(
        self, owner: str, batch_id: str, rows: Rows, schema: pa.Schema, revision: int, existing: PartFile | None
    ) -> PartFile:
        """Write rows as a part, or keep ``existing`` where it says the same.

        Args:
            owner: model version, or :data:`SHARED`.
            batch_id: of the batch.
            rows: of the part; all are taken, also where ``existing`` is kept.
            schema: of the table.
            revision: lowest that the new part may have.
            existing: the part in use.
        """
        scratch = self._folder / "part.parquet"
        content = write_table(scratch, schema, rows)
        if existing is not None and existing.hash == content.hash:
            scratch.unlink()
            return existing
        name = self._free_name(owner, batch_id, schema.metadata[b"table"].decode(), revision)
        target = self._folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch.rename(target)
        return PartFile(name, **asdict(content), digest=file_digest(target))

    def discard(self, part: PartFile) -> None:
        """Take back a part that this step wrote."""
        (self._folder / part.file).unlink(missing_ok=True)

    def locate(self, part: PartFile) -> Path:
        """Return where a part lies at this moment: in the step's folder, or already published."""
        fresh = self._folder / part.file
        return fresh if fresh.exists() else self._published / part.file

    def _free_name(self, owner: str, batch_id: str, table: str, revision: int) -> str:
        while True:
            suffix = f".{revision}" if revision else ""
            name = f"parts/{owner}/{batch_id}{suffix}/{table}.parquet"
            if not (self._published / name).exists():
                return name
            revision += 1


def revision_of(part: PartFile) -> int:
    """Return the revision that stands in the name of a part's folder."""
    _, _, suffix = Path(part.file).parent.name.partition(".")
    return int(suffix or 0)


def require_assignment(path: Path, batch_id: str, model_version: str, n_components: int) -> None:
    """Refuse an assignment file of another batch or model, judging by its footer alone.

    Raises:
        DataError: no readable assignment file.
        PublishError: it holds another batch or model, or a component that the model does not have.
    """
    with _opened(path) as file:
        _require_table(file, path, facet_schema(0, uid=False))
        _require_range(file, path, "batch_id", batch_id, batch_id)
        _require_range(file, path, "model_version", model_version, model_version)
        _require_range(file, path, "cluster_id", 0, n_components - 1)


def facet_rows(path: Path, batch_id: str, model_version: str, uids: FacetUids, removed: Collection[str]) -> Rows:
    """Yield the rows of an assignment file with their uids, without those of removed images.

    Args:
        path: ``facet_<j>.parquet`` as :func:`pipeline.table_format.build.write_assignments` left it.
        batch_id: of the batch that it must hold.
        model_version: of the model that it must come from.
        uids: of the facet's components, by column.
        removed: image ids.

    Raises:
        DataError: no readable assignment file.
        PublishError: another batch or model, or a component that the model does not have.
    """
    require_assignment(path, batch_id, model_version, len(uids["cluster_uid"]))
    with _opened(path) as file:
        names = [name for name in file.schema_arrow.names if name not in ("batch_id", "model_version")]
        for rows in without(file.iter_batches(ROW_GROUP, columns=names), removed):
            yield _with_uids(rows, batch_id, model_version, uids, path)


def part_schema(path: Path) -> pa.Schema:
    """Return the columns that a file has."""
    with _opened(path) as file:
        return file.schema_arrow


def has_responsibilities(path: Path) -> bool:
    """Tell whether an assignment file stores all responsibilities."""
    return "resp" in part_schema(path).names


def part_rows(path: Path, columns: Sequence[str] | None = None) -> Rows:
    """Yield the rows of a published part, or of an assignment file as it is, by default with all columns."""
    with _opened(path) as file:
        yield from file.iter_batches(ROW_GROUP, columns=columns)


def read_ids(images: Path) -> pa.StringArray:
    """Return the image ids that an ``images.parquet`` lists.

    Raises:
        DataError: the table is missing or damaged.
    """
    return read_columns(images, ["image_id"])["image_id"].combine_chunks()


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return all rows of a small table; ``pyarrow.parquet.read_table`` would import pandas.

    Raises:
        DataError: the table is missing or damaged.
    """
    with open_parquet(path) as file:
        return file.read().to_pylist()


def image_rows(path: Path, batch_id: str, removed: Collection[str]) -> Rows:
    """Yield the rows of one batch from an ``images.parquet``, without those of removed images."""
    import pyarrow.compute as pc  # see content_hashes

    schema = table_schema("images")
    with _opened(path) as file:
        _require_table(file, path, schema)
        groups = [group for group in range(file.num_row_groups) if _may_hold(file, group, "batch_id", batch_id)]
        for rows in without(file.iter_batches(ROW_GROUP, row_groups=groups, columns=schema.names), removed):
            chosen = rows.filter(pc.call_function("equal", [rows.column("batch_id"), batch_id]))
            yield completed(chosen, schema).cast(schema)


def quarantine_rows(path: Path, batch_id: str) -> Rows:
    """Yield the files that a ``quarantine.parquet`` lists, as belonging to a batch."""
    schema = table_schema("quarantine")
    with _opened(path) as file:
        require_columns(file, path, ["file", "reason"])
        for rows in file.iter_batches(ROW_GROUP, columns=["file", "reason"]):
            columns = [constant_column(batch_id, rows.num_rows), rows.column("file"), rows.column("reason")]
            yield pa.RecordBatch.from_arrays(columns, schema.names)


def observed(rows: Rows, observers: Iterable[Observer]) -> Rows:
    """Yield rows unchanged and show each group of them to all observers first."""
    observers = list(observers)
    for batch in rows:
        for observe in observers:
            observe(batch)
        yield batch


def without(rows: Iterable[pa.RecordBatch], removed: Collection[str]) -> Rows:
    """Yield rows without those of removed images, whichever copy and release the ids on the list are of."""
    import pyarrow.compute as pc  # see content_hashes

    gone, beginnings = ContentSet.of_ids(removed), pa.array(sorted({text[:SHORT_ID] for text in removed}), pa.string())
    for batch in rows:
        if removed:
            ids = batch.column("image_id")
            begin = pc.call_function("utf8_slice_codeunits", [ids], pc.SliceOptions(0, SHORT_ID))
            # Hardly any rows are removed ones, and the hashes of the others need not be made of their ids.
            if pc.call_function("is_in", [begin], pc.SetLookupOptions(beginnings)).true_count:
                batch = batch.filter(pa.array(~gone.has(content_hashes(ids))))
        yield batch


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    with open_parquet(path) as file:
        require_known(schema_version(file.metadata.metadata), SCHEMA_VERSION, str(path))
        yield file


def _require_table(file: pq.ParquetFile, path: Path, schema: pa.Schema) -> None:
    """Insist on the columns that the table had in the schema version that a file states."""
    require_columns(file, path, columns_of(schema, schema_version(file.metadata.metadata)).names)


def _require_range(file: pq.ParquetFile, path: Path, column: str, smallest: Any, largest: Any) -> None:
    for group in range(file.num_row_groups):
        statistics = _statistics(file, group, column)
        if statistics is None or not smallest <= statistics.min <= statistics.max <= largest:
            found = "unknown values" if statistics is None else f"{statistics.min} to {statistics.max}"
            expected = smallest if smallest == largest else f"from {smallest} to {largest}"
            raise PublishError(f"{path} must hold {column} {expected}, got {found}; assign the batch again")


def _may_hold(file: pq.ParquetFile, group: int, column: str, value: str) -> bool:
    statistics = _statistics(file, group, column)
    return statistics is None or statistics.min <= value <= statistics.max


def _statistics(file: pq.ParquetFile, group: int, column: str) -> Any:
    chunk = file.metadata.row_group(group).column(file.schema_arrow.names.index(column))
    return chunk.statistics if chunk.is_stats_set and chunk.statistics.has_min_max else None


def _with_uids(rows: pa.RecordBatch, batch_id: str, model_version: str, uids: FacetUids, path: Path) -> pa.RecordBatch:
    columns = {name: rows.column(name) for name in rows.schema.names}
    for name in ("confidence", "entropy", "typicality"):
        if not np.isfinite(columns[name].to_numpy()).all():
            raise PublishError(f"{path} must hold finite numbers in column {name}, got others; train the model again")
    columns["batch_id"] = constant_column(batch_id, rows.num_rows)
    columns["model_version"] = constant_column(model_version, rows.num_rows)
    columns |= {name: _uid_column(columns["cluster_id"], of_components) for name, of_components in uids.items()}
    if "group_uid" not in uids:  # an earlier release published the model: its clusters are in no group
        columns.pop("group_confidence", None)
    rows = pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
    return completed(rows, facet_schema(0, responsibilities="resp" in columns))


def _uid_column(cluster_id: pa.Int32Array, of_components: Sequence[str]) -> pa.DictionaryArray:
    distinct = list(dict.fromkeys(of_components))
    codes = cluster_id
    if len(distinct) < len(of_components):  # groups: several components have the same
        place = np.array([distinct.index(uid) for uid in of_components], np.int32)
        codes = pa.array(place[cluster_id.to_numpy()])
    return pa.DictionaryArray.from_arrays(codes, pa.array(distinct, pa.string()))
