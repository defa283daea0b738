"""DuckDB, and the questions about sets of images that publishing asks it; what exceeds the memory goes to the disk."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipeline.core.errors import DataError, ResourceError

if TYPE_CHECKING:
    import duckdb

_MEMORY = "700MB"


def connect(**config: Any) -> "duckdb.DuckDBPyConnection":
    """Return a private in-memory database that sees neither Python's variables nor the network."""
    import duckdb

    closed = ("python_enable_replacements", "autoinstall_known_extensions", "autoload_known_extensions")
    return duckdb.connect(config={**dict.fromkeys(closed, False), **config})


def fence(database: "duckdb.DuckDBPyConnection", files: Sequence[str]) -> None:
    """Restrict a database for good to ``files`` and its own spill folder; extensions cannot be loaded either."""
    database.execute("SET allowed_paths = $1", [list(files)])
    database.execute("SET enable_external_access = false")
    database.execute("SET lock_configuration = true")


def parquet(files: Sequence[Path | str]) -> str:
    """Return the SQL that reads Parquet files of one schema; nothing is guessed from their names."""
    names = ", ".join("'" + str(name).replace("'", "''") + "'" for name in files)
    return f"read_parquet([{names}], hive_partitioning = false)"


def overlap(old: Sequence[Path], new: Sequence[Path], n_components: tuple[int, int], scratch: Path) -> np.ndarray:
    """Return how many images lie in each pair of components, as an int64 array ``old new``.

    Args:
        old: facet parts of the model in service.
        new: assignments or parts of the same facet by the new model.
        n_components: of the old and of the new facet.
        scratch: folder for what does not fit into memory.
    """
    counts = np.zeros(n_components, np.int64)
    if old and new:
        with _bounded(scratch) as database:
            rows = database.execute(
                "SELECT o.cluster_id, n.cluster_id, count(*) "
                f"FROM {parquet(old)} o JOIN {parquet(new)} n USING (image_id) GROUP BY ALL"
            ).fetchall()
        for old_component, new_component, n_images in rows:
            counts[old_component, new_component] = n_images
    return counts


def repeated_ids(files: Sequence[Path], scratch: Path) -> list[str]:
    """Return some ids that stand in more than one row of ``images`` parts, smallest first."""
    if not files:
        return []
    with _bounded(scratch) as database:
        rows = database.execute(
            f"SELECT image_id FROM {parquet(files)} GROUP BY image_id HAVING count(*) > 1 ORDER BY image_id LIMIT 5"
        ).fetchall()
    return [image_id for (image_id,) in rows]


def common_ids(files: Sequence[Path], ids: pa.Array | pa.ChunkedArray, scratch: Path) -> list[str]:
    """Return those of ``ids`` that stand in any of the files, sorted."""
    return [image_id for (image_id,) in _semi_join("image_id", files, ids, scratch)]


def files_with_ids(files: Sequence[Path], ids: pa.Array | pa.ChunkedArray, scratch: Path) -> list[Path]:
    """Return those of the files that hold at least one of ``ids``, sorted."""
    return [Path(name) for (name,) in _semi_join("filename", files, ids, scratch)]


def _semi_join(
    column: str, files: Sequence[Path], ids: pa.Array | pa.ChunkedArray, scratch: Path
) -> list[tuple[Any, ...]]:
    if not files or not len(ids):
        return []
    with _bounded(scratch) as database:
        database.register("wanted", pa.table({"image_id": ids}))
        return database.execute(
            f"SELECT DISTINCT {column} FROM {parquet(files)} SEMI JOIN wanted USING (image_id) ORDER BY 1"
        ).fetchall()


@contextmanager
def _bounded(scratch: Path) -> "Iterator[duckdb.DuckDBPyConnection]":
    with tempfile.TemporaryDirectory(prefix="duckdb-", dir=scratch) as overflow:
        import duckdb

        database = connect(memory_limit=_MEMORY, temp_directory=overflow, preserve_insertion_order=False)
        try:
            with database:
                yield database
        except duckdb.OutOfMemoryException as error:
            raise ResourceError(f"comparing images needs more memory, got {one_line(error)}; free some") from error
        except duckdb.Error as error:
            reason = one_line(error)
            raise DataError(f"tables of images must be whole, but {reason}; run facets check --repair") from error


def one_line(error: BaseException) -> str:
    """Return a message without DuckDB's excerpt of the statement and advice about settings."""
    text, _, _ = str(error).partition("\nLINE ")
    text, _, _ = text.partition("\n\nPossible solutions")
    return " ".join(text.split()).removesuffix(".").removesuffix(";")
