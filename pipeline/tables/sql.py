"""SQL over published tables, by DuckDB: it reads these tables, and nothing else of the machine or the network."""

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from pipeline.core.errors import ConfigError, DataError, ResourceError
from pipeline.core.extras import as_missing_extra
from pipeline.core.memory import available_bytes
from pipeline.core.naming import check_experiment_name
from pipeline.table_format.logical import schema_layout
from pipeline.table_format.schema import columns_of, facet_schema
from pipeline.tables.draft import load_identity
from pipeline.tables.engine import connect, fence, one_line, parquet
from pipeline.tables.names import load_names
from pipeline.tables.query import Engine, Snapshot, base_of, with_snapshot

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

_NAMES = "cluster_names"
_ROWS_AT_ONCE = 100_000
_LEAST_MEMORY = 2**25  # bytes; DuckDB does nothing useful with less

# What a statement may do in a database of its own that is gone afterwards. Of the others COPY and EXPORT write files,
# also those that may be read, and the rest loads, attaches or changes settings.
_LEGAL = {"SELECT", "CREATE", "INSERT", "UPDATE", "DELETE", "MERGE_INTO", "DROP", "ALTER"}
_WRAPPERS = {"EXPLAIN", "MULTI"}  # MULTI is a PIVOT; either may hold a COPY
_LOST = re.compile(r'"([^"]+)/\*\*/\*\.parquet"')
_WRITING = re.compile(r"\b(copy|export)\b", re.IGNORECASE)


@as_missing_extra()
def query(
    experiment: str,
    sql: str,
    *,
    version: int | None = None,
    root: Path | str | None = None,
    engine: Engine = "pandas",
) -> "pd.DataFrame | pa.Table":
    """Return the result of a SQL statement (DuckDB's dialect) over the published tables.

    Views: ``facet_<j>`` (with ``cluster_name`` and ``group_name``), ``images``, ``clusters`` and ``groups`` (with
    ``name`` and ``note``), ``merges``, ``batches``, ``lineage`` and ``quarantine``. Names come from
    ``names/<experiment>.csv`` below ``root``, if that is a folder.
    Other files, extensions, settings and the network are closed to it.

    Args:
        experiment: e.g. ``"digits"``.
        sql: e.g. ``"select cluster_uid, count(*) from facet_1 group by all"``.
        version: which one, by default the current one.
        root: folder that holds ``published``, or its URL; by default the nearest one above the working directory.
        engine: ``pandas`` for a data frame, ``arrow`` for an Arrow table.

    Raises:
        ConfigError: the statement is no valid SQL over these views, the experiment's name is no name, or there is no
            such version or repository.
        DataError: nothing is published, or a file is missing or damaged.
        ResourceError: the statement needs more memory or disk than there is, or DuckDB is not installed.
    """
    check_experiment_name(experiment)
    base = base_of(experiment, root)
    names = Path(base) / "names" / f"{experiment}.csv"

    def run(snapshot: Snapshot) -> pa.Table:
        # Rows that exceed the memory go to a folder that is gone afterwards, wherever the caller stands.
        with (
            tempfile.TemporaryDirectory(prefix="facets-query-", ignore_cleanup_errors=True) as overflow,
            _readable_errors(snapshot, overflow),
            connect(temp_directory=overflow, **_bounds(overflow)) as database,
        ):
            _require_reading(database, sql)
            _create_views(database, snapshot, names, sql)
            return _interruptible(database, sql)

    found = with_snapshot(experiment, base, version, run)
    return found.to_pandas() if engine == "pandas" else found


def _bounds(overflow: str) -> dict[str, str]:
    """Return what DuckDB may take: half of the memory and of the disk that can be had now, so that others get some."""
    memory = max(_LEAST_MEMORY, available_bytes() // 2)
    disk = shutil.disk_usage(overflow).free // 2
    return {"memory_limit": f"{memory >> 10}KiB", "max_temp_directory_size": f"{disk >> 10}KiB"}


def _require_reading(database: "duckdb.DuckDBPyConnection", sql: str) -> None:
    statements = database.extract_statements(sql)
    if not statements:
        raise ConfigError(f"a query must be a SQL statement, got {_shown(sql)}; write one, such as FROM clusters")
    for statement in statements:
        kind = statement.type.name
        if kind not in _LEGAL and (kind not in _WRAPPERS or _WRITING.search(statement.query)):
            raise ConfigError(
                f"a query reads tables and changes nothing outside, got {_shown(statement.query)}; "
                "ask for rows, and write them to a file with facets query … --output FILE"
            )


def _interruptible(database: "duckdb.DuckDBPyConnection", sql: str) -> pa.Table:
    """Return the rows of a statement; a signal ends it while it computes.

    Python runs signal handlers between its own instructions in the main thread, so that one must not be inside DuckDB.
    """

    def compute() -> pa.Table:
        result = database.sql(sql)
        return pa.table({}) if result is None else _gather(result.to_arrow_reader(_ROWS_AT_ONCE))

    with ThreadPoolExecutor(1) as thread:
        rows = thread.submit(compute)
        try:
            return rows.result()
        except BaseException:
            database.interrupt()
            raise


def _gather(reader: pa.RecordBatchReader) -> pa.Table:
    """Return all rows, which are no longer DuckDB's and so not within its limit."""
    most = max(_LEAST_MEMORY, available_bytes() // 2)
    batches: list[pa.RecordBatch] = []
    n_bytes = 0
    try:
        for batch in reader:
            batches.append(batch)
            n_bytes += batch.nbytes
            if n_bytes > most:
                raise ResourceError(
                    f"the query needs more memory or disk, got rows of more than {most} bytes, half of the memory that "
                    "can be had; select fewer columns or rows"
                )
    except OSError as error:  # how Arrow hands on whatever DuckDB raises once there are rows
        raise _of_duckdb(error) from error
    return pa.Table.from_batches(batches, reader.schema)


def _of_duckdb(error: OSError) -> Exception:
    import duckdb

    kinds = {
        "Out of Memory Error": duckdb.OutOfMemoryException,
        "IO Error": duckdb.IOException,
        "HTTP Error": duckdb.HTTPException,
        "Permission Error": duckdb.PermissionException,
    }
    kind, _, _ = str(error).partition(":")
    return kinds.get(kind, duckdb.Error)(str(error))


def _shown(sql: str) -> str:
    text = " ".join(sql.split())
    return (repr(text) if len(text) <= 60 else f"{text[:60]!r}…") if text else "an empty text"


def _create_views(database: "duckdb.DuckDBPyConnection", snapshot: Snapshot, names: Path, sql: str) -> None:
    if snapshot.place.filesystem is not None:
        database.register_filesystem(snapshot.place.filesystem)
    _create_names(database, load_names(names, load_identity(snapshot.place, snapshot.version).minted_by))
    # A view looks at each of its files when it is made: with many thousands, only what is asked for is worth that.
    mentioned = [table for table in snapshot.tables if re.search(rf"\b{table}\b", sql, re.IGNORECASE)]
    tables = mentioned or snapshot.tables
    parts = [part.file for table in tables for part in snapshot.files(table)]
    fence(database, [name for part in parts for name in snapshot.place.spellings(part)])
    for table in tables:
        files = _files_sql(database, snapshot, table)
        database.execute(f"CREATE VIEW {table} AS {_view(table, files, _has_groups(snapshot, table))}")


def _create_names(database: "duckdb.DuckDBPyConnection", named: Mapping[str, tuple[str, str]]) -> None:
    # Not registered as an Arrow table: that would import pandas.
    columns = [list(named), [name for name, _ in named.values()], [note for _, note in named.values()]]
    lists = "unnest($1::VARCHAR[]) AS uid, unnest($2::VARCHAR[]) AS name, unnest($3::VARCHAR[]) AS note"
    database.execute(f"CREATE TABLE {_NAMES} AS SELECT {lists}", columns)


def _files_sql(database: "duckdb.DuckDBPyConnection", snapshot: Snapshot, table: str) -> str:
    by_layout: dict[str, list[str]] = {}
    for part in snapshot.files(table):
        by_layout.setdefault(part.layout, []).append(snapshot.place.file(part.file))
    if not by_layout:
        database.register(f"no_{table}", snapshot.schema(table).empty_table())
        return f"SELECT * FROM no_{table}"
    # Files of one layout are opened only when they are read; DuckDB's own union by name would open all of them first.
    return " UNION ALL BY NAME ".join(f"SELECT * FROM {parquet(files)}" for files in by_layout.values())


def _has_groups(snapshot: Snapshot, table: str) -> bool:
    """Tell whether the files of a facet have a column of groups: not if an earlier release wrote all of them."""
    if not table.startswith("facet_"):
        return False
    facet = int(table.removeprefix("facet_"))
    first = [columns_of(facet_schema(facet, responsibilities=resp), 1) for resp in (False, True)]
    return not {part.layout for part in snapshot.files(table)} <= {schema_layout(schema) for schema in first}


def _view(table: str, files: str, has_groups: bool) -> str:
    if table.startswith("facet_"):
        joined = f"({files}) f LEFT JOIN {_NAMES} n ON f.cluster_uid = n.uid"
        if not has_groups:
            return f"SELECT f.*, n.name AS cluster_name FROM {joined}"
        of_group = f"LEFT JOIN {_NAMES} g ON f.group_uid = g.uid"
        return f"SELECT f.*, n.name AS cluster_name, g.name AS group_name FROM {joined} {of_group}"
    if table in ("clusters", "groups"):
        uid = f"{table.removesuffix('s')}_uid"
        return f"SELECT c.*, n.name, n.note FROM ({files}) c LEFT JOIN {_NAMES} n ON c.{uid} = n.uid"
    return files


@contextmanager
def _readable_errors(snapshot: Snapshot, overflow: str) -> Iterator[None]:
    import duckdb

    try:
        yield
    except (duckdb.OutOfMemoryException, MemoryError) as error:
        raise ResourceError(
            f"the query needs more memory or disk, got {one_line(error)}; select fewer columns or rows"
        ) from error
    except (duckdb.IOException, duckdb.HTTPException) as error:
        if overflow in str(error):
            raise ResourceError(
                f"the query needs more disk for what exceeds the memory, but {one_line(error)}; "
                "make room, or set TMPDIR to a folder with more"
            ) from error
        raise DataError(_not_whole(snapshot, one_line(error))) from error
    except duckdb.PermissionException as error:
        # DuckDB looks for a lost file as for a folder of that name, which is forbidden.
        lost = _LOST.search(str(error))
        if lost and lost[1].startswith(snapshot.place.location):
            raise DataError(_not_whole(snapshot, f"{lost[1]} is missing")) from None
        raise ConfigError(
            f"a query reads the tables {', '.join(snapshot.tables)} and nothing else, but {one_line(error)}; "
            "leave that out"
        ) from None
    except duckdb.Error as error:
        raise ConfigError(
            f"a query must be SQL over the tables {', '.join(snapshot.tables)}, but {one_line(error)}; "
            "mend the statement"
        ) from None


def _not_whole(snapshot: Snapshot, reason: str) -> str:
    version = f"version {snapshot.version.version} of {snapshot.place.location}"
    return f"{version} must be whole, but {reason}; run facets check --repair"
