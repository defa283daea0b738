"""Rows as a file for other programs: CSV, Parquet or JSON."""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.errors import ConfigError, ResourceError
from pipeline.core.storage import atomic_file
from pipeline.core.text import reason_of
from pipeline.tables.formula import as_text

_ROWS_AT_ONCE = 4096


def check_export(output: Path) -> None:
    """Refuse a file that :func:`write_export` could not write, before anything is asked.

    Raises:
        ConfigError: it has another suffix than ``.csv``, ``.parquet`` or ``.json``, is a folder, or lies below a file.
        ResourceError: it cannot be looked at.
    """
    if output.suffix not in _WRITERS:
        raise ConfigError(
            f"an export ends in {', '.join(_WRITERS)}, got {str(output)!r}; give it one of these suffixes"
        )
    with _as_resource_error(output):
        is_folder = output.is_dir()
        above = next(folder for folder in output.absolute().parents if folder.exists())
    if is_folder:
        raise ConfigError(f"an export is a file, got the folder {output}; add a file name")
    if not above.is_dir():
        raise ConfigError(f"an export must lie in a folder, but {above} is none, got {output}; correct the path")


def write_export(rows: pa.Table, output: Path) -> None:
    """Write rows into a file whose suffix tells its form; one that is there is replaced as a whole.

    Text in a CSV that a spreadsheet would run as a formula gets an apostrophe in front, a column's name too; what a CSV
    has no form for, such as lists, becomes JSON. A ``.json`` is a list of objects.

    Raises:
        ConfigError: as :func:`check_export`, or there are no columns, or one that the form cannot hold.
        ResourceError: the file cannot be written.
    """
    check_export(output)
    if not rows.column_names:
        raise ConfigError("an export needs a statement that gives rows, got one without; end it with a SELECT")
    with _as_resource_error(output), atomic_file(output) as temporary:
        try:
            _WRITERS[output.suffix](rows, temporary)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise ConfigError(
                f"a {output.suffix} file must be able to hold the columns, but {reason_of(error)}; "
                "cast the column to VARCHAR"
            ) from None


@contextmanager
def _as_resource_error(output: Path) -> Iterator[None]:
    """As a person chose the place, whatever the system says of it is a fault of that place."""
    try:
        yield
    except OSError as error:
        raise ResourceError(
            f"{output} must be writable, but: {error.strerror or error}; choose another place"
        ) from error


def plain_rows(rows: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield rows as JSON can hold them; as objects of Python they take many times the memory, so only a few are."""
    for block in rows.to_batches(_ROWS_AT_ONCE):
        yield from map(plain, block.to_pylist())


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: times as text, what is not finite as null, DuckDB's wide sums as numbers."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, Decimal):
        value = int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int | str | None) else str(value)


def _write_csv(rows: pa.Table, path: Path) -> None:
    from pyarrow import csv

    fields = [
        pa.field(as_text(field.name), field.type if _is_simple(field.type) else pa.string()) for field in rows.schema
    ]
    with csv.CSVWriter(path, pa.schema(fields)) as writer:
        for block in rows.to_batches(_ROWS_AT_ONCE):
            columns = [
                column if _is_simple(column.type) else pa.array(map(_cell, column.to_pylist()), pa.string())
                for column in block.columns
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields)))


def _is_simple(kind: pa.DataType) -> bool:
    """Tell whether a column goes into a CSV as it is: a number, a time, a truth value."""
    return pa.types.is_decimal(kind) or (pa.types.is_primitive(kind) and not pa.types.is_interval(kind))


def _cell(value: Any) -> str | None:
    if value is None:
        return None
    found = plain(value)
    return as_text(found if isinstance(found, str) else json.dumps(found, ensure_ascii=False))


def _write_json(rows: pa.Table, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        for n, row in enumerate(plain_rows(rows)):
            file.write(f"{',' if n else ''}\n{json.dumps(row, ensure_ascii=False)}")
        file.write("\n]\n")


_WRITERS: dict[str, Callable[[pa.Table, Path], None]] = {
    ".csv": _write_csv,
    ".parquet": pq.write_table,
    ".json": _write_json,
}
