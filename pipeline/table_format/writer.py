"""Writing one Parquet file as a stream of rows."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import pyarrow as pa

from pipeline.table_format.logical import LogicalHash, schema_layout
from pipeline.table_format.schema import ROW_GROUP, completed, open_writer, stored_schema


@dataclass(frozen=True)
class Content:
    """What a file says.

    Attributes:
        rows: how many.
        hash: logical hash of all columns.
        ids: logical hash of column ``image_id`` alone, so that two files can be seen to list the same images.
        layout: name of its columns.
    """

    rows: int
    hash: str
    ids: str
    layout: str


class ContentMeter:
    """Counts and hashes rows as they pass."""

    def __init__(self, schema: pa.Schema) -> None:
        self._hash = LogicalHash(schema)
        self._layout = schema_layout(schema)
        self._rows = 0

    def add(self, rows: pa.RecordBatch) -> None:
        """Take rows into account."""
        self._hash.update(rows)
        self._rows += rows.num_rows

    def content(self) -> Content:
        """Return what has passed so far."""
        return Content(self._rows, self._hash.hexdigest(), self._hash.column("image_id"), self._layout)


class TableWriter:
    """Writes rows in groups of :data:`ROW_GROUP`, however they come in; use it as a context manager.

    Args:
        path: of the new file; a caller that needs it whole or not at all passes a temporary one.
        schema: of the table; columns of few values may come in as text or as dictionaries, those that a later release
            added not at all.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._stored = stored_schema(schema)
        self._meter = ContentMeter(schema)
        self._writer = open_writer(path, schema)
        self._waiting: list[pa.RecordBatch] = []
        self._n_waiting = 0

    def __enter__(self) -> "TableWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._writer:
            if kind is None and self._waiting:
                self._flush(self._n_waiting)

    def write(self, rows: pa.RecordBatch) -> None:
        """Append rows."""
        rows = completed(rows, self._stored).cast(self._stored)
        self._meter.add(rows)
        self._waiting.append(rows)
        self._n_waiting += rows.num_rows
        if self._n_waiting >= ROW_GROUP:
            self._flush(self._n_waiting - self._n_waiting % ROW_GROUP)

    def content(self) -> Content:
        """Return what has been written so far."""
        return self._meter.content()

    def _flush(self, n_rows: int) -> None:
        waiting = pa.Table.from_batches(self._waiting).unify_dictionaries()
        self._writer.write_table(waiting.slice(0, n_rows), row_group_size=ROW_GROUP)
        self._waiting = waiting.slice(n_rows).to_batches()
        self._n_waiting -= n_rows


def write_table(path: Path, schema: pa.Schema, rows: Iterable[pa.RecordBatch]) -> Content:
    """Write all rows to a new file and return what it says."""
    with TableWriter(path, schema) as writer:
        for batch in rows:
            writer.write(batch)
    return writer.content()


def measure(schema: pa.Schema, rows: Iterable[pa.RecordBatch]) -> Content:
    """Return what a file of these rows would say, without writing it."""
    meter = ContentMeter(schema)
    for batch in rows:
        meter.add(batch)
    return meter.content()
