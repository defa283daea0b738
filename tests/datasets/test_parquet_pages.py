"""Page headers against footers of an independent writer, Arrow."""

import io
import itertools
from bisect import bisect
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.errors import DataError
from pipeline.datasets.readers.parquet_pages import require_honest_pages

VALUES = [bytes([k % 7]) * (200 * k) for k in range(60)] + [None]
TABLE = pa.table({"image": pa.array(VALUES, pa.binary()), "kind": [str(k % 5) for k in range(61)]})


def columns(**options):
    """Write the table and return the file and the metadata of every column chunk."""
    file = io.BytesIO()
    pq.write_table(TABLE, file, row_group_size=25, data_page_size=4000, **options)
    found = pq.ParquetFile(file).metadata
    groups = map(found.row_group, range(found.num_row_groups))
    return file, [group.column(i) for group in groups for i in range(group.num_columns)]


@pytest.mark.parametrize(
    ("compression", "version", "dictionary", "more"),
    list(itertools.product(["none", "zstd", "snappy"], ["1.0", "2.0"], [True, False], [True, False])),
)
def test_what_arrow_writes_is_honest_to_the_byte(compression, version, dictionary, more):
    file, chunks = columns(
        compression=compression,
        data_page_version=version,
        use_dictionary=dictionary,
        write_page_checksum=more,
        write_statistics=more,
    )
    for chunk in chunks:
        # Arrow's footer counts the pages' headers too: they are all that may be missing.
        assert is_honest(file, chunk, 0)
        n_missing = bisect(range(chunk.total_uncompressed_size), 0, key=lambda n: not is_honest(file, chunk, n))
        assert 0 < n_missing < (10_000 if more else 500)  # statistics hold two values, of up to 4 KiB each


def is_honest(file, chunk, n_missing):
    try:
        require_honest_pages(file, stating(chunk, chunk.total_uncompressed_size - n_missing), "x.parquet")
    except DataError:
        return False
    return True


def stating(chunk, n_bytes):
    """Return metadata of a column chunk that state another size."""
    names = ("data_page_offset", "dictionary_page_offset", "has_dictionary_page", "total_compressed_size")
    return SimpleNamespace(total_uncompressed_size=n_bytes, **{name: getattr(chunk, name) for name in names})


def test_a_damaged_header_is_refused():
    file, chunks = columns(compression="zstd")
    data = bytearray(file.getvalue())
    start = min(chunks[0].data_page_offset, chunks[0].dictionary_page_offset)
    for length in range(1, 12):
        data[start : start + length] = b"\xff" * length
        with pytest.raises(DataError, match=r"x\.parquet must have pages that unpack to the \d+ bytes .*; write it"):
            require_honest_pages(io.BytesIO(bytes(data)), chunks[0], "x.parquet")
