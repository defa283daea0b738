"""DuckDB, and the questions about sets of images that publishing asks it; what exceeds the memory goes to the disk."""

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipeline.core.errors import DataError, ResourceError
from pipeline.core.image_ids import LONG_ID, SHORT_ID

if TYPE_CHECKING:
    import duckdb

_MEMORY = "700MB"

_SUSPECTS = 1000
"""Of ten billion different images about three pairs begin with the same 64 bits."""

_PASSED = pa.schema([("filename", pa.string()), ("image_id", pa.string())])

_OLD_ID = (
    f"CASE WHEN length(image_id) < {LONG_ID} THEN image_id "
    f"ELSE left(image_id, {SHORT_ID}) || substr(image_id, {LONG_ID + 1}) END"
)
"""The id that an earlier release gave an image: equal for an image whose rows have ids of several releases."""


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


def overlap(
    old: Sequence[Path],
    new: Mapping[Path, Collection[str]],
    n_components: tuple[int, int],
    scratch: Path,
) -> np.ndarray:
    """Return how many images lie in each pair of components, as an int64 array ``old new``.

    Args:
        old: facet parts of the model in service.
        new: assignments or parts of the same facet by the new model, each with the ids of images not to count in it.
        n_components: of the old and of the new facet.
        scratch: folder for what does not fit into memory.
    """
    counts = np.zeros(n_components, np.int64)
    if old and new:
        passed = [{"filename": str(path), "image_id": image_id} for path, ids in new.items() for image_id in ids]
        with _bounded(scratch) as database:
            database.register("passed", pa.Table.from_pylist(passed, _PASSED))
            rows = database.execute(
                "SELECT o.cluster_id, n.cluster_id, count(*) "
                f"FROM (SELECT {_OLD_ID} AS old_id, cluster_id FROM {parquet(old)}) o "
                f"JOIN (SELECT {_OLD_ID} AS old_id, cluster_id FROM {parquet([*new])} "
                "ANTI JOIN passed USING (filename, image_id)) n USING (old_id) GROUP BY ALL"
            ).fetchall()
        for old_component, new_component, n_images in rows:
            counts[old_component, new_component] = n_images
    return counts


def repeated_ids(files: Sequence[Path], scratch: Path) -> list[str]:
    """Return some ids of images that stand in more than one row of ``images`` parts, smallest first."""
    if not files:
        return []
    rows = f"(SELECT image_id, {_OLD_ID} AS old_id FROM {parquet(files)})"
    with _bounded(scratch) as database:
        database.execute(
            f"CREATE TABLE suspects AS SELECT old_id FROM {rows} GROUP BY old_id HAVING count(*) > 1 "
            f"ORDER BY old_id LIMIT {_SUSPECTS}"
        )
        if not database.execute("SELECT count(*) FROM suspects").fetchall()[0][0]:
            return []
        found = database.execute(f"FROM {rows} SEMI JOIN suspects USING (old_id) ORDER BY old_id, image_id").fetchall()
    # Two images may begin with the same 64 bits; an id of no more than these stands for either.
    repeated = {
        two
        for (one, old_id), (two, other_old_id) in pairwise(found)
        if old_id == other_old_id and (one in (two, old_id))
    }
    return sorted(repeated)[:5]


def given_way(first: Sequence[Path], later: Sequence[Path], scratch: Path) -> dict[Path, frozenset[str]]:
    """Return, for each later file, the ids of its images that stand in an earlier file, too.

    Args:
        first: ``images`` parts or tables that come before all others.
        later: those of ingested batches, in the order in which they came in.
        scratch: folder for what does not fit into memory.
    """
    if not later:
        return {}
    place = {str(path): number for number, path in enumerate(later, 1)}
    columns = f"image_id, filename, {_OLD_ID} AS old_id"
    with _bounded(scratch) as database:
        pairs = database.execute(
            f"SELECT DISTINCT l.filename, l.image_id, f.filename FROM (SELECT {columns} FROM {parquet(later)}) l "
            f"JOIN (SELECT {columns} FROM {parquet([*first, *later])}) f USING (old_id) WHERE l.filename <> f.filename "
            # Two images may begin with the same 64 bits; an id of no more than these stands for either.
            "AND (l.image_id = f.image_id OR l.image_id = old_id OR f.image_id = old_id)"
        ).fetchall()
    found: dict[Path, set[str]] = {}
    for name, image_id, other in pairs:
        if place.get(other, 0) < place[name]:
            found.setdefault(Path(name), set()).add(image_id)
    return {path: frozenset(ids) for path, ids in found.items()}


def files_with_content(files: Sequence[Path], ids: Sequence[str], scratch: Path) -> list[Path]:
    """Return the files that hold an image with the content of one of ``ids``, sorted; of others some, once in 2⁶⁴."""
    if not files or not ids:
        return []
    wanted = pa.table({"beginning": sorted({text[:SHORT_ID] for text in ids})})
    with _bounded(scratch) as database:
        database.register("wanted", wanted)
        found = database.execute(
            f"SELECT DISTINCT filename FROM {parquet(files)} "
            f"SEMI JOIN wanted ON left(image_id, {SHORT_ID}) = beginning ORDER BY 1"
        ).fetchall()
    return [Path(name) for (name,) in found]


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
