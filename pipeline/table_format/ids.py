"""Image ids as a column of a table, without a Python object an id: tables may be large."""

import numpy as np
import pyarrow as pa
from jaxtyping import Shaped

from pipeline.core.image_ids import HASH_DTYPE, LONG_ID, parse_ids
from pipeline.table_format.logical import text_bytes


def id_column(image_ids: Shaped[np.ndarray, " image"]) -> pa.StringArray:
    """Return image ids, ASCII bytes or text, as an Arrow column."""
    encoded = np.ascontiguousarray(image_ids.astype(np.bytes_))
    width = encoded.dtype.itemsize
    characters = encoded.view(np.uint8).reshape(len(encoded), width)
    # numpy pads with zeros at the end, and no id holds one.
    is_text = characters != 0
    offsets = np.zeros(len(encoded) + 1, np.int32)
    np.cumsum(is_text.sum(axis=1), out=offsets[1:])
    return pa.StringArray.from_buffers(len(encoded), pa.py_buffer(offsets), pa.py_buffer(characters[is_text]))


def content_hashes(ids: pa.StringArray) -> Shaped[np.ndarray, " image"]:
    """Return the content hashes of a column of image ids.

    Raises:
        DataError: something else than an image id.
    """
    # Imported when it is used: a sixth of the time that importing the reader takes, which seldom needs it.
    import pyarrow.compute as pc

    hashes = np.zeros(len(ids), HASH_DTYPE)
    is_long = text_bytes(ids)[0] >= LONG_ID
    for n_bytes, rows in (
        (HASH_DTYPE.itemsize, np.flatnonzero(is_long)),
        (HASH_DTYPE.itemsize // 2, np.flatnonzero(~is_long)),
    ):
        cut = pc.SliceOptions(2, 2 + 2 * n_bytes)
        lengths, digits = text_bytes(pc.call_function("utf8_slice_codeunits", [ids.take(pa.array(rows))], cut))
        try:
            found = bytes.fromhex(digits.tobytes().decode("ascii"))
        except ValueError:
            found = b""
        if (lengths != 2 * n_bytes).any() or len(found) != n_bytes * len(rows):
            return parse_ids(ids.to_pylist())[0]  # says which
        hashes[rows] = np.frombuffer(found, f"S{n_bytes}")
    return hashes
