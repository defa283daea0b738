"""Label factors in a prepared folder: ``labels.parquet``, apart from the images because only scoring may see them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int, Int32, Shaped

from pipeline.core.errors import DataError
from pipeline.core.parquet import open_parquet
from pipeline.datasets.store.images import ImageStore
from pipeline.datasets.store.spec import Split

_KEY_COLUMNS = ("image_id", "split")


def write_labels(
    prepared: Path,
    image_ids: Mapping[Split, Shaped[np.ndarray, " _"]],
    labels: Mapping[Split, Mapping[str, Int32[np.ndarray, " _"]]],
    class_names: Mapping[str, list[str]],
) -> None:
    """Write ``labels.parquet``: image_id, split, and an int32 column a factor, null where an image has no label.

    Args:
        prepared: the folder to write into.
        image_ids: of each split, in the order of its store.
        labels: of each split, by factor; negative where unknown. Every split has the same factors.
        class_names: names of the values of a factor, where there are any; kept as metadata.
    """
    splits = list(image_ids)
    table = {
        "image_id": pa.array(np.concatenate([image_ids[split] for split in splits]).astype(str), pa.string()),
        "split": pa.array(np.repeat(splits, [len(image_ids[split]) for split in splits]).astype(str), pa.string()),
    }
    for name in labels[splits[0]]:
        values = np.concatenate([labels[split][name] for split in splits])
        table[name] = pa.array(values, pa.int32(), mask=values < 0)
    metadata = {"schema": "1", "class_names": json.dumps(class_names, sort_keys=True, ensure_ascii=False)}
    pq.write_table(pa.table(table).replace_schema_metadata(metadata), prepared / "labels.parquet")


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


def read_class_names(prepared: Path) -> dict[str, list[str]]:
    """Return the names of the values of those factors that have any, in the order of the values.

    Raises:
        DataError: ``labels.parquet`` is missing or damaged.
    """
    path = prepared / "labels.parquet"
    with open_parquet(path) as file:
        return json.loads((file.schema_arrow.metadata or {}).get(b"class_names", b"{}"))


def labels_of_store(prepared: Path, split: Split, store: ImageStore) -> dict[str, Int32[np.ndarray, " image"]]:
    """Return every label factor of one split (see :func:`read_labels`) in the order of the split's store.

    Raises:
        DataError: ``labels.parquet`` is missing or damaged, or does not name exactly the images of the store.
    """
    labelled, factors = read_labels(prepared, split)
    image_ids = store.image_ids()
    if len(labelled) != len(image_ids):
        raise DataError(
            f"labels.parquet must have one row for each of the {len(image_ids)} images of {store.path}, "
            f"got {len(labelled)}; run stage preprocess again"
        )
    rows = _rows_of(image_ids, labelled, store.path)
    return {name: values[rows] for name, values in factors.items()}


def _rows_of(
    wanted: Shaped[np.ndarray, " image"], labelled: Shaped[np.ndarray, " image"], path: Path
) -> Int[np.ndarray, " image"]:
    if np.array_equal(wanted, labelled):
        return np.arange(len(wanted))
    order = np.argsort(labelled)
    rows = order[np.searchsorted(labelled, wanted, sorter=order).clip(max=len(order) - 1)]
    odd = np.flatnonzero(labelled[rows] != wanted)
    if len(odd):
        raise DataError(
            f"labels.parquet must name every image of {path}, but {wanted[odd[0]]} is missing; "
            "run stage preprocess again"
        )
    return rows


def _as_int32(path: Path, name: str, column: Any, rows: np.ndarray) -> Int32[np.ndarray, " image"]:
    if not pa.types.is_integer(column.type):
        raise DataError(f"{path}: column {name} must hold integers, got {column.type}; run stage preprocess again")
    return column.fill_null(-1).to_numpy()[rows].astype(np.int32)
