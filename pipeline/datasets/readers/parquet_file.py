"""Opening Parquet files of other people: bounded, every fault in plain words."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.errors import DataError
from pipeline.core.memory import require_plenty
from pipeline.core.text import reason_of
from pipeline.datasets.files.bounds import require_count
from pipeline.datasets.files.location import is_url, open_location
from pipeline.datasets.readers.parquet_pages import require_honest_pages

_GROUP_BYTES = 2**28


@contextmanager
def open_parquet(location: str, within: str | None = None, dictionaries: Sequence[str] = ()) -> Iterator[Any]:
    """Open a Parquet file of other people.

    Args:
        location: path or URL.
        within: a folder above it that no link may lead out of.
        dictionaries: columns that are read as dictionaries.

    Raises:
        DataError: it is missing or damaged, or claims far more than it can hold.
    """
    with open_location(location, within) as file, _plain_faults(location):
        opened = pq.ParquetFile(file, read_dictionary=list(dictionaries), pre_buffer=is_url(location))
        n_bytes = file.seek(0, 2)
        _require_bounded(opened.metadata, location, n_bytes)
        yield opened


@contextmanager
def _plain_faults(location: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        if isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None):
            raise  # of the system or a network; arrow raises plain ones of what it finds damaged
        require_plenty(f"reading {location}", error)
        raise DataError(f"{location} must be a complete Parquet file, but {reason_of(error)}; write it again") from None


def _require_bounded(metadata: Any, location: str, n_bytes: int) -> None:
    n_rows = 0
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        n_rows += group.num_rows
        require_count(location, n_rows, n_bytes)
        for column in map(group.column, range(group.num_columns)):
            unpacked, most = column.total_uncompressed_size, max(_GROUP_BYTES, 100 * column.total_compressed_size)
            if column.physical_type == "BYTE_ARRAY" and unpacked > most:
                raise DataError(
                    f"{location} must have row groups that unpack to at most {most} bytes a column, got {unpacked}; "
                    "write it with smaller row groups"
                )
    if n_rows != metadata.num_rows:
        raise DataError(f"{location} must be a complete Parquet file, but it has {n_rows} of {metadata.num_rows} rows")


def require_honest(raw: Any, file: Any, group: int, names: Sequence[str], location: str) -> None:
    """Check that the pages of some columns unpack to no more than the footer says.

    Raises:
        DataError: they do (:func:`pipeline.datasets.readers.parquet_pages.require_honest_pages`).
    """
    for column in leaf_columns(file, group, names):
        require_honest_pages(raw, column, location)


def filled_groups(file: Any) -> list[int]:
    """Return the row groups that have rows; one without may have no page either."""
    return [group for group in range(file.num_row_groups) if file.metadata.row_group(group).num_rows]


def leaf_columns(file: Any, group: int, names: Sequence[str]) -> list[Any]:
    """Return what the footer says of some columns of a row group, of lists of their elements."""
    found = file.metadata.row_group(group)
    columns = map(found.column, range(found.num_columns))
    return [column for column in columns if any(f"{column.path_in_schema}.".startswith(f"{name}.") for name in names)]
