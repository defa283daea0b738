"""Arrow schemas of all published tables, and the one way in which their files are written.

A higher :data:`SCHEMA_VERSION` may add columns at the end of a table: a :class:`FacetColumn` to those of facets, a line
:func:`_added` to another. None is ever renamed, retyped or dropped, so that parts of several schema versions read
together. Rows of an earlier release have nulls in what was added since; parts of a newer one are read, but nothing is
made of them here, which would lose what only that release knows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.records import FacetAssignment

ROW_GROUP = 131_072
"""Rows that are compressed, indexed and skipped together."""

_VERSION_KEY = b"schema_version"
_TABLE_KEY = b"table"
_SINCE_KEY = b"since"
_RESP = pa.field("resp", pa.list_(pa.float32()), nullable=False)


def _since(column: pa.Field) -> int:
    return int((column.metadata or {}).get(_SINCE_KEY, b"1"))


def _must(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


def _added(version: int, name: str, kind: pa.DataType) -> pa.Field:
    """Return a column that a schema version added, for the end of its table; :data:`SCHEMA_VERSION` rises with it."""
    return pa.field(name, kind, metadata={_SINCE_KEY: str(version)})


@dataclass(frozen=True)
class FacetColumn:
    """A column that a schema version added to the tables of facets, and what fills it.

    Images whose model cannot say it have nulls.

    Attributes:
        since: the schema version.
        name: of the column.
        kind: its type.
        fill: from the assignment of some images to the column's values; None where publishing decides them.
    """

    since: int
    name: str
    kind: pa.DataType
    fill: Callable[[FacetAssignment], np.ndarray | None] | None


_FACET = [
    _must("image_id", pa.string()),
    _must("batch_id", pa.string()),
    _must("cluster_id", pa.int32()),
    _must("cluster_uid", pa.string()),
    _must("confidence", pa.float32()),
    _must("entropy", pa.float32()),
    _must("typicality", pa.float32()),
    _must("runner_up", pa.int32()),
    _must("runner_up_confidence", pa.float32()),
    _must("model_version", pa.string()),
]

FACET_COLUMNS: list[FacetColumn] = [
    FacetColumn(2, "group_uid", pa.string(), None),
    FacetColumn(2, "group_confidence", pa.float32(), lambda facet: facet.group_confidence),
]
"""Columns of facets' tables that later schema versions added, in that order."""

_DECIDED = {"cluster_uid", "group_uid"}
"""Columns of facets' tables that only publishing can fill."""


def _facet_fields() -> list[pa.Field]:
    return [*_FACET, *(_added(column.since, column.name, column.kind) for column in FACET_COLUMNS)]


_TABLES: dict[str, list[pa.Field]] = {
    "images": [
        _must("image_id", pa.string()),
        _must("batch_id", pa.string()),
        _must("position", pa.int64()),
        pa.field("path", pa.string()),
        pa.field("height", pa.int32()),
        pa.field("width", pa.int32()),
    ],
    "quarantine": [_must("batch_id", pa.string()), _must("file", pa.string()), _must("reason", pa.string())],
    "clusters": [
        _must("facet", pa.int32()),
        _must("cluster_id", pa.int32()),
        _must("cluster_uid", pa.string()),
        _must("size", pa.int64()),
        pa.field("mean_confidence", pa.float64()),
        _must("mixing_weight", pa.float64()),
        _must("exemplars", pa.list_(pa.string())),
        _must("minted_by", pa.string()),
        _must("model_version", pa.string()),
        _added(2, "group_uid", pa.string()),
        _added(3, "hinted", pa.int64()),
    ],
    "groups": [
        _must("facet", pa.int32()),
        _must("group_uid", pa.string()),
        _must("clusters", pa.list_(pa.string())),
        _must("size", pa.int64()),
        _must("mixing_weight", pa.float64()),
        _must("certainty", pa.float64()),
        pa.field("reproducibility", pa.float64()),
        _must("minted_by", pa.string()),
        _must("model_version", pa.string()),
        _added(3, "hinted", pa.int64()),
    ],
    "merges": [
        _must("facet", pa.int32()),
        _must("n_groups", pa.int32()),
        _must("clusters", pa.list_(pa.string())),
        _must("joined_with", pa.list_(pa.string())),
        _must("confirmed", pa.float64()),
        _must("model_version", pa.string()),
    ],
    "batches": [
        _must("batch_id", pa.string()),
        pa.field("created", pa.timestamp("us", tz="UTC")),
        pa.field("source", pa.string()),
        _must("n_images", pa.int64()),
        _must("quarantined", pa.int64()),
        _must("duplicates", pa.int64()),
        pa.field("drift", pa.list_(pa.float64())),
        pa.field("drifted", pa.bool_()),
        _must("status", pa.string()),
        _must("sizes", pa.list_(pa.list_(pa.int64()))),
    ],
    "lineage": [
        _must("facet", pa.int32()),
        _must("old_uid", pa.string()),
        _must("new_uid", pa.string()),
        _must("kind", pa.string()),
        _must("overlap", pa.int64()),
        _must("old_share", pa.float64()),
        _must("new_share", pa.float64()),
        _must("old_version", pa.int64()),
        _must("new_version", pa.int64()),
        _must("old_model", pa.string()),
        _must("new_model", pa.string()),
        _added(2, "level", pa.string()),
    ],
}

SCHEMA_VERSION = max(
    [
        1,
        *(_since(column) for table in _TABLES.values() for column in table),
        *(column.since for column in FACET_COLUMNS),
    ]
)
"""The newest version that a column states."""

REPEATING = frozenset({"batch_id", "cluster_uid", "group_uid", "model_version", "minted_by", "source", "status"})
"""Text columns of few distinct values: kept as a dictionary inside the file. Ids all differ, theirs would only cost."""

_WRITER: dict[str, Any] = {
    "compression": "zstd",
    "compression_level": 1,
    "use_dictionary": [*sorted(REPEATING), "cluster_id", "runner_up"],
    "store_schema": False,
    "version": "2.6",
}


def facet_table(facet: int) -> str:
    """Return the name of a facet's table."""
    return f"facet_{facet}"


def facet_schema(facet: int, *, uid: bool = True, responsibilities: bool = False) -> pa.Schema:
    """Return the schema of a facet's table.

    Args:
        facet: number of the facet, from 0.
        uid: with ``cluster_uid`` and ``group_uid``; assignments that are not published yet have none.
        responsibilities: with a last column ``resp``, all responsibilities of an image.
    """
    columns = [column for column in _facet_fields() if uid or column.name not in _DECIDED]
    return _schema(facet_table(facet), [*columns, _RESP] if responsibilities else columns)


def table_schema(table: str) -> pa.Schema:
    """Return the schema of a published table, that of a facet without responsibilities."""
    return _schema(table, _facet_fields() if table.startswith("facet_") else _TABLES[table])


def added_columns(facet: FacetAssignment) -> dict[str, pa.Array]:
    """Return the columns that later schema versions added, for the images of an assignment."""
    filled = {column: column.fill(facet) for column in FACET_COLUMNS if column.fill is not None}
    n_images = len(facet.cluster_id)
    return {
        column.name: pa.nulls(n_images, column.kind) if values is None else pa.array(values, column.kind)
        for column, values in filled.items()
    }


def stored_schema(schema: pa.Schema) -> pa.Schema:
    """Return a table's schema with the columns of few values as dictionaries, the form that is fast to write."""
    coded = pa.dictionary(pa.int32(), pa.string())
    fields = [field.with_type(coded) if field.name in REPEATING else field for field in schema]
    return pa.schema(fields, metadata=schema.metadata)


def schema_version(metadata: dict[bytes, bytes] | None) -> int:
    """Return the schema version that a file's metadata states; 1, the first, where they state none."""
    return int((metadata or {}).get(_VERSION_KEY, b"1"))


def columns_of(schema: pa.Schema, version: int) -> pa.Schema:
    """Return the columns that a table had in a schema version, and that version."""
    metadata = {**(schema.metadata or {}), _VERSION_KEY: str(version).encode()}
    return pa.schema([column for column in schema if _since(column) <= version], metadata=metadata)


def completed(rows: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return the columns of a table in order, with nulls in those that were added since the rows were written.

    Args:
        rows: with all columns of the first schema version, in any order; others are left out.
        schema: of the table.
    """
    if rows.schema.names == schema.names:
        return rows
    known = set(rows.schema.names)
    columns = [
        pa.nulls(rows.num_rows, column.type) if _since(column) > 1 and column.name not in known else rows[column.name]
        for column in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema.names)


def open_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Open a Parquet file with the options that all published files share.

    Options and row order are fixed and no time of writing goes in, so equal rows give equal bytes under one pyarrow.
    The Bloom filter on ``image_id`` lets a reader skip nearly every row group when it looks up one image. Rows come in
    with :func:`stored_schema`; Arrow's own schema is not kept in the file, so every reader sees plain text.
    """
    bloom = {"image_id": {"ndv": ROW_GROUP, "fpp": 0.01}} if "image_id" in schema.names else None
    writer = pq.ParquetWriter(path, stored_schema(schema), bloom_filter_options=bloom, **_WRITER)
    writer.add_key_value_metadata(schema.metadata)
    return writer


def _schema(table: str, columns: list[pa.Field]) -> pa.Schema:
    metadata = {_TABLE_KEY: table.encode(), _VERSION_KEY: str(SCHEMA_VERSION).encode()}
    return pa.schema(columns, metadata=metadata)
