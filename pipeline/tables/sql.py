"""SQL over published tables, by DuckDB."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from pipeline.errors import ConfigError, DataError, ResourceError
from pipeline.tables.draft import load_identity
from pipeline.tables.engine import connect, parquet
from pipeline.tables.names import load_names
from pipeline.tables.query import Engine, Snapshot, find_root, with_snapshot

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

_NAMES = "cluster_names"


def query(
    experiment: str,
    sql: str,
    *,
    version: int | None = None,
    root: Path | str | None = None,
    engine: Engine = "pandas",
) -> "pd.DataFrame | pa.Table":
    """Return the result of a SQL statement (DuckDB's dialect) over the published tables.

    Views: ``facet_<j>`` (with ``cluster_name``), ``images``, ``clusters`` (with ``name`` and ``note``), ``batches``,
    ``lineage`` and ``quarantine``. Names come from ``names/<experiment>.csv`` below ``root``, if that is a folder.

    Args:
        experiment: e.g. ``"digits"``.
        sql: e.g. ``"select cluster_uid, count(*) from facet_1 group by all"``.
        version: which one, by default the current one.
        root: folder that holds ``published``, or its URL; by default the nearest one above the working directory.
        engine: ``pandas`` for a data frame, ``arrow`` for an Arrow table.

    Raises:
        ConfigError: the statement is no valid SQL over these views.
        DataError: there is no such experiment or version, or a file is missing or damaged.
        ResourceError: the statement needs more memory or disk than there is.
    """
    base = find_root(experiment) if root is None else root
    names = Path(base) / "names" / f"{experiment}.csv"

    def run(snapshot: Snapshot) -> pa.Table:
        with _readable_errors(snapshot), connect() as database:
            _create_views(database, snapshot, names, sql)
            result = database.sql(sql)
            return pa.table({}) if result is None else result.to_arrow_table()

    if not sql.strip():
        raise ConfigError("a query must be a SQL statement, got an empty text; write one, such as FROM clusters")
    found = with_snapshot(experiment, base, version, run)
    return found.to_pandas() if engine == "pandas" else found


def _create_views(database: "duckdb.DuckDBPyConnection", snapshot: Snapshot, names: Path, sql: str) -> None:
    if snapshot.place.filesystem is not None:
        database.register_filesystem(snapshot.place.filesystem)
    _create_names(database, load_names(names, load_identity(snapshot.place, snapshot.version).minted_by))
    # A view looks at each of its files when it is made: with many thousands, only what is asked for is worth that.
    mentioned = [table for table in snapshot.tables if re.search(rf"\b{table}\b", sql, re.IGNORECASE)]
    for table in mentioned or snapshot.tables:
        database.execute(f"CREATE VIEW {table} AS {_view(table, _files_sql(database, snapshot, table))}")


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


def _view(table: str, files: str) -> str:
    if table.startswith("facet_"):
        return f"SELECT f.*, n.name AS cluster_name FROM ({files}) f LEFT JOIN {_NAMES} n ON f.cluster_uid = n.uid"
    if table == "clusters":
        return f"SELECT c.*, n.name, n.note FROM ({files}) c LEFT JOIN {_NAMES} n ON c.cluster_uid = n.uid"
    return files


@contextmanager
def _readable_errors(snapshot: Snapshot) -> Iterator[None]:
    import duckdb

    try:
        yield
    except (duckdb.IOException, duckdb.HTTPException) as error:
        raise DataError(
            f"version {snapshot.version.version} of {snapshot.place.location} must be whole, but {_first_line(error)}; "
            "run facets check"
        ) from error
    except duckdb.OutOfMemoryException as error:
        raise ResourceError(f"the query needs more memory, got {_first_line(error)}; select fewer columns") from error
    except duckdb.Error as error:
        raise ConfigError(
            f"a query must be SQL over the tables {', '.join(snapshot.tables)}, but {_first_line(error)}; "
            "mend the statement"
        ) from None


def _first_line(error: Exception) -> str:
    """Return a message without DuckDB's excerpt of the statement."""
    text, _, _ = str(error).partition("\nLINE ")
    return " ".join(text.split()).removesuffix(".").removesuffix(";")
