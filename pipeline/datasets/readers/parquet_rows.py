"""Rows of numbers in Parquet: a column of lists of floats."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool

from pipeline.core.errors import DataError
from pipeline.datasets.files.location import open_location
from pipeline.datasets.readers.block import Block, rows_per_block
from pipeline.datasets.readers.parquet_file import filled_groups, leaf_columns, open_parquet, require_honest
from pipeline.datasets.readers.rows import block_of_rows, require_rows
from pipeline.datasets.readers.shards import Shard

_MEANT = ("features", "embeddings")


def row_column(file: Any, location: str) -> str | None:
    """Return the column that holds rows: one called ``features`` or ``embeddings``, or the only one of lists of floats.

    Args:
        file: without a column of images; a ``pyarrow.parquet.ParquetFile``.
        location: of it, for messages.

    Raises:
        DataError: the only lists are of something else than floats, or several hold floats and none is called so.
    """
    kinds = {field.name: field.type.value_type for field in file.schema_arrow if _is_list(field.type)}
    floats = [name for name, kind in kinds.items() if pa.types.is_floating(kind)]
    found = next(([name] for name in _MEANT if name in floats), floats)
    if len(found) > 1:
        raise DataError(
            f"{location} must have one column of lists of floats or one called {_MEANT[0]!r}, got {found}; rename it"
        )
    numbers = [name for name, kind in kinds.items() if pa.types.is_integer(kind)]
    if not found and len(numbers) == 1:
        raise DataError(
            f"{location} must hold floats as rows, got lists of {kinds[numbers[0]]} in column {numbers[0]}; convert "
            "them to float32"
        )
    return found[0] if found else None


def row_blocks(shards: Sequence[Shard], within: str | None) -> Iterator[tuple[Block, Bool[np.ndarray, " row"]]]:
    """Yield the rows of all files without labels, and which of the rows that were read are in each block.

    All have as many numbers as the first that has any; rows without numbers and of other lengths are rejected.

    Args:
        shards: the files.
        within: a folder above them that no link may lead out of.

    Raises:
        DataError: a file is damaged, or has no such column.
    """
    width = 0
    for name, location in shards:
        row = 0
        with open_location(location, within) as raw, open_parquet(location, within) as file:
            column = row_column(file, location)
            if column is None:
                raise DataError(f"{location} must have a column of lists of floats as the first file; write it again")
            for group in filled_groups(file):
                require_honest(raw, file, group, [column], location)
                n_rows = _rows_at_once(file, group, column, location)
                for batch in file.iter_batches(n_rows, row_groups=[group], columns=[column]):
                    lists = batch.column(0)
                    width = width or _first_width(lists)
                    paths = [f"{name}[{place}]" for place in range(row, row + len(lists))]
                    yield _block(lists, width, paths)
                    row += len(lists)


def first_width(shards: Sequence[Shard], within: str | None) -> int:
    """Return how many numbers the first row has that has any; see :func:`row_blocks`."""
    found = (block.rows.shape[-1] for block, _ in row_blocks(shards, within) if block.rows is not None)
    return next(filter(None, found), 0)


def _is_list(kind: Any) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _rows_at_once(file: Any, group: int, column: str, location: str) -> int:
    """Return how many rows make a block, if none is far longer than the others."""
    (leaf,) = leaf_columns(file, group, [column])
    n_rows = file.metadata.row_group(group).num_rows
    width = -(-leaf.num_values // n_rows)
    require_rows(f"{location}: {column}", (n_rows, max(1, width)), np.dtype(np.float64))
    return rows_per_block(width * np.dtype(np.float64).itemsize)


def _first_width(lists: Any) -> int:
    lengths = pc.call_function("list_value_length", [lists]).to_numpy(zero_copy_only=False)
    return int(next((length for length in lengths if length > 0), 0))


def _block(lists: Any, width: int, paths: Sequence[str]) -> tuple[Block, Bool[np.ndarray, " row"]]:
    lengths = pc.call_function("list_value_length", [lists]).fill_null(0).to_numpy(zero_copy_only=False)
    fits = np.flatnonzero((lengths == width) & (lengths > 0))
    odd = np.flatnonzero((lengths != width) | (lengths == 0)).tolist()
    values = lists.take(pa.array(fits)).flatten().to_numpy(zero_copy_only=False).reshape(len(fits), width)
    block, is_finite = block_of_rows(values, [paths[row] for row in fits.tolist()])
    reasons = [(paths[row], f"has {lengths[row]} numbers where others have {width}; mend the row") for row in odd]
    is_usable = np.zeros(len(lists), bool)
    is_usable[fits[is_finite]] = True
    whole = Block(images=block.images, paths=block.paths, rejected=[*block.rejected, *reasons])
    return whole, is_usable
