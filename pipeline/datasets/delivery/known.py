"""Which contents an experiment has already, from the ids that its tables list."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Shaped

from pipeline.core.errors import DataError
from pipeline.core.image_ids import HASH_DTYPE
from pipeline.table_format.ids import content_hashes


def known_content(tables: Iterable[Path]) -> Shaped[np.ndarray, " known"]:
    """Return the content hashes of all images that some ``images.parquet`` list.

    Raises:
        DataError: a table is missing or damaged.
    """
    hashes: list[np.ndarray] = [np.empty(0, HASH_DTYPE)]
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
    return np.concatenate(hashes)
