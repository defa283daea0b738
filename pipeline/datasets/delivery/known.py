"""Which contents an experiment has already, from the ids that its tables list."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import UInt64

from pipeline.core.errors import DataError
from pipeline.datasets.store.identity import ID_PREFIX, N_HEX, parse_ids

_NO_DIGIT = np.uint64(16)
_DIGITS = np.full(256, _NO_DIGIT)
_DIGITS[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16, dtype=np.uint64)


def known_content(tables: Iterable[Path]) -> UInt64[np.ndarray, " known"]:
    """Return the content hashes of all images that some ``images.parquet`` list.

    Raises:
        DataError: a table is missing or damaged.
    """
    hashes: list[np.ndarray] = [np.empty(0, np.uint64)]
    for path in tables:
        try:
            with pq.ParquetFile(path) as file:
                column = file.read(["image_id"])["image_id"]
        except FileNotFoundError:
            raise DataError(f"{path} is missing; run facets check --repair") from None
        except pa.ArrowMemoryError:
            raise
        except (pa.ArrowException, OSError, KeyError) as error:
            reason = f"must be a complete table of images, but {error}"
            raise DataError(f"{path} {reason}; run facets check --repair") from None
        hashes += [content_hashes(chunk) for chunk in column.chunks]
    return np.unique(np.concatenate(hashes))


def content_hashes(ids: pa.StringArray) -> UInt64[np.ndarray, " image"]:
    """Return the content hash of image ids that a table holds, without a Python object an id: tables may be large.

    Raises:
        DataError: something else than an image id.
    """
    _, offsets, text = ids.buffers()
    if not len(ids) or offsets is None or text is None:
        return np.empty(0, np.uint64)
    bounds = np.frombuffer(offsets, np.int32)[ids.offset : ids.offset + len(ids) + 1]
    characters, starts = np.frombuffer(text, np.uint8), bounds[:-1] + len(ID_PREFIX)
    is_wrong = np.diff(bounds) < len(ID_PREFIX) + N_HEX
    hashes = np.zeros(len(ids), np.uint64)
    if not is_wrong.any():
        for place in range(N_HEX):
            digits = _DIGITS[characters[starts + place]]
            is_wrong |= digits == _NO_DIGIT
            hashes = hashes << np.uint64(4) | digits
    if is_wrong.any():
        return parse_ids(ids.to_pylist())[0]  # says which
    return hashes
