"""A hash of what a table says, whatever the bytes of its file.

Parquet bytes change with the writer's release; this hash does not. It does not depend on how rows are split into chunks
either, so a stream can be hashed on its way to the disk.
"""

import hashlib

import numpy as np
import pyarrow as pa

from pipeline.table_format.schema import REPEATING


class LogicalHash:
    """Collects the rows of one table, in order."""

    def __init__(self, schema: pa.Schema) -> None:
        self._types = {field.name: _type_name(field.type) for field in schema}
        self._streams: dict[str, hashlib._Hash] = {}
        self._rows: dict[str, int] = {}

    def update(self, rows: pa.RecordBatch) -> None:
        """Add rows; text columns of few values may come as dictionaries."""
        for name, column in zip(rows.schema.names, rows.columns, strict=True):
            self._feed_column(name, column)

    def hexdigest(self) -> str:
        """Return the hash of all columns, their names and types (32 hex digits)."""
        columns = [f"{name}:{kind}:{self.column(name)}" for name, kind in self._types.items()]
        return _digest("\n".join(columns))

    def column(self, name: str) -> str:
        """Return the hash of one column (32 hex digits)."""
        own = sorted(stream for stream in self._streams if stream == name or stream.startswith(f"{name}/"))
        return _digest("\n".join(f"{stream}={self._streams[stream].hexdigest()}" for stream in own))

    def _feed_column(self, name: str, column: pa.Array) -> None:
        if name in REPEATING:
            column = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        start = self._rows.get(name, 0)
        self._rows[name] = start + len(column)
        if column.null_count:
            # Positions, not a mask: most columns have no null, and then nothing is hashed.
            nulls = np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))
            self._feed(f"{name}/null", nulls + start)
            column = column.drop_null()
        kind = column.type
        if pa.types.is_dictionary(kind):
            self._feed(name, _value_digests(column.dictionary)[column.indices.to_numpy()])
        elif pa.types.is_list(kind):
            self._feed(f"{name}/length", np.diff(column.offsets.to_numpy()))
            self._feed_column(f"{name}/item", column.flatten())
        elif pa.types.is_string(kind) or pa.types.is_binary(kind):  # none is written, but damage may call a text so
            lengths, characters = text_bytes(column)
            self._feed(f"{name}/length", lengths)
            self._feed(name, characters)
        elif pa.types.is_boolean(kind):
            self._feed(name, column.cast(pa.uint8()).to_numpy())
        elif pa.types.is_timestamp(kind):
            self._feed(name, column.cast(pa.int64()).to_numpy())
        else:
            self._feed(name, column.to_numpy())

    def _feed(self, stream: str, values: np.ndarray) -> None:
        self._streams.setdefault(stream, hashlib.sha256()).update(np.ascontiguousarray(values).data)


def schema_layout(schema: pa.Schema) -> str:
    """Return a name (8 hex digits) for the columns of a file: files of one layout can be read as one table."""
    return _digest("\n".join(f"{column.name}:{_type_name(column.type)}" for column in schema))[:8]


def combined_hash(*hashes: str) -> str:
    """Return one hash (32 hex digits) of several, in order."""
    return _digest("\n".join(hashes))


def _type_name(kind: pa.DataType) -> str:
    # A list's item is called "item" in memory and "element" in Parquet.
    return f"list of {_type_name(kind.value_type)}" if pa.types.is_list(kind) else str(kind)


def _value_digests(values: pa.Array) -> np.ndarray:
    """Return 8 bytes for each text, so that a column of few texts is hashed through its dictionary's indices."""
    if not pa.types.is_binary(values.type):
        values = values.cast(pa.string()).cast(pa.binary())
    digests = [hashlib.sha256(text).digest()[:8] for text in values.to_pylist()]
    return np.frombuffer(b"".join(digests), np.uint64)


def text_bytes(column: pa.StringArray | pa.BinaryArray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lengths of texts in bytes, and their bytes, one text after the other."""
    _, offsets, data = column.buffers()
    if offsets is None or data is None:
        return np.zeros(len(column), np.int32), np.empty(0, np.uint8)
    bounds = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    return np.diff(bounds), np.frombuffer(data, np.uint8)[bounds[0] : bounds[-1]]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
