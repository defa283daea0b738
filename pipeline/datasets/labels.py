"""Reading label factors from a prepared folder."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int32, Shaped

from pipeline.datasets.source import Split
from pipeline.errors import DataError

_KEY_COLUMNS = ("image_id", "split")


def read_labels(
    prepared: Path, split: Split
) -> tuple[Shaped[np.ndarray, " image"], dict[str, Int32[np.ndarray, " image"]]]:
    """Return image ids as text and every label factor of one split, in the order of ``labels.parquet``.

    A negative value means that the image has no label for that factor. Without labels the dictionary is empty.

    Args:
        prepared: output folder of stage preprocess.
        split: which split.

    Raises:
        DataError: ``labels.parquet`` is missing, damaged, or has a column that holds no integers.
    """
    path = prepared / "labels.parquet"
    try:
        table: Any = pq.read_table(path)
    except FileNotFoundError:
        raise DataError(f"{path} is missing; run stage preprocess") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} must be a complete Parquet file, but {error}; run stage preprocess again") from None
    missing = [name for name in _KEY_COLUMNS if name not in table.column_names]
    if missing:
        raise DataError(f"{path} must have the column {missing[0]}, got {table.column_names}; run stage preprocess")
    rows = np.flatnonzero(table["split"].to_numpy() == split)
    factors = {
        name: _as_int32(path, name, table[name], rows) for name in table.column_names if name not in _KEY_COLUMNS
    }
    return table["image_id"].to_numpy()[rows].astype(str), factors


def _as_int32(path: Path, name: str, column: Any, rows: np.ndarray) -> Int32[np.ndarray, " image"]:
    if not pa.types.is_integer(column.type):
        raise DataError(f"{path}: column {name} must hold integers, got {column.type}; run stage preprocess again")
    return column.fill_null(-1).to_numpy()[rows].astype(np.int32)
