"""The Parquet table beside a store that says where each image comes from."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int32, Int64

IMAGES_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("batch_id", pa.string()),
        ("position", pa.int64()),
        ("path", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
    ]
)


def write_images_table(
    path: Path,
    image_ids: np.ndarray,
    batch_ids: np.ndarray,
    positions: Int64[np.ndarray, " image"],
    paths: pa.ChunkedArray | pa.Array,
    sizes: Int32[np.ndarray, "image 2"],
) -> None:
    """Write ``images.parquet``: where each image comes from, in the order of the store."""
    columns = [
        pa.array(image_ids.astype(str), pa.string()),
        pa.array(batch_ids.astype(str), pa.string()),
        pa.array(positions),
        paths,
        pa.array(sizes[:, 0]),
        pa.array(sizes[:, 1]),
    ]
    pq.write_table(pa.Table.from_arrays(columns, schema=IMAGES_SCHEMA), path)
