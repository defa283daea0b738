import datetime as dt

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.table_format.logical import LogicalHash, schema_layout
from tests.tables.builders import patient

SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("status", pa.string()),
        ("number", pa.float32()),
        ("flag", pa.bool_()),
        ("when", pa.timestamp("us", tz="UTC")),
        ("items", pa.list_(pa.string())),
    ]
)

rows = st.fixed_dictionaries(
    {
        "text": st.none() | st.text(max_size=3),
        "status": st.none() | st.sampled_from(["a", "b"]),
        "number": st.none() | st.floats(width=32, allow_nan=False),
        "flag": st.none() | st.booleans(),
        "when": st.none() | st.datetimes(timezones=st.just(dt.UTC), min_value=dt.datetime(1990, 1, 1)),
        "items": st.none() | st.lists(st.none() | st.text(max_size=2), max_size=3),
    }
)


def hash_of(table, step=1000):
    logical = LogicalHash(table.schema)
    for batch in table.to_batches(max_chunksize=step):
        logical.update(batch)
    return logical.hexdigest()


@patient
@given(st.lists(rows, max_size=8), st.integers(1, 4))
def test_hash_does_not_depend_on_chunks(values, step):
    table = pa.Table.from_pylist(values, SCHEMA)
    assert hash_of(table, step) == hash_of(table)


@patient
@given(st.lists(rows, max_size=5), st.lists(rows, max_size=5))
def test_hash_tells_different_rows_apart(some, others):
    hashes = [hash_of(pa.Table.from_pylist(values, SCHEMA)) for values in (some, others)]
    # As text, where -0.0 is not 0.0; values only, as the dictionaries' keys may stand in another order.
    values = [repr([[row[name] for name in SCHEMA.names] for row in rows_]) for rows_ in (some, others)]
    assert (hashes[0] == hashes[1]) == (values[0] == values[1])


@pytest.mark.parametrize("options", [{"use_dictionary": False}, {"compression": "zstd"}, {"row_group_size": 2}])
def test_hash_does_not_depend_on_the_file(tmp_path, options):
    table = pa.Table.from_pylist(
        [{"text": "ä", "status": "live", "number": 1.5, "flag": True, "when": None, "items": ["x", None]}] * 5, SCHEMA
    )
    pq.write_table(table, tmp_path / "file.parquet", store_schema=False, **options)
    found = pq.read_table(tmp_path / "file.parquet")
    assert hash_of(found) == hash_of(table)
    assert schema_layout(found.schema) == schema_layout(SCHEMA)


@pytest.mark.parametrize("kind", [pa.binary(), pa.int64()])
@pytest.mark.parametrize("column", ["text", "status"])
def test_a_damaged_file_may_call_a_text_something_else(column, kind):
    text, other = pa.table({column: ["7"]}), pa.table({column: pa.array([b"7"] if kind == pa.binary() else [7], kind)})
    assert hash_of(text) != hash_of(other)


def test_boundaries_between_texts_count():
    first, second = (pa.table({"text": texts}) for texts in (["ab", "c"], ["a", "bc"]))
    assert hash_of(first) != hash_of(second)


def test_column_names_count():
    assert hash_of(pa.table({"a": [1]})) != hash_of(pa.table({"b": [1]}))
