import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.errors import DataError
from pipeline.datasets.store.labels import read_labels, write_labels


def test_unknown_labels_come_back_as_minus_one(tmp_path):
    write_labels(
        tmp_path,
        {"train": np.array(["i-1", "i-2"]), "test": np.array(["i-3"])},
        {"train": {"digit": np.array([-1, 0], np.int32)}, "test": {"digit": np.array([-1], np.int32)}},
        {},
    )
    image_ids, factors = read_labels(tmp_path, "train")
    assert image_ids.tolist() == ["i-1", "i-2"]
    assert list(factors) == ["digit"]
    np.testing.assert_array_equal(factors["digit"], np.array([-1, 0], np.int32))
    image_ids, factors = read_labels(tmp_path, "test")
    assert (image_ids.tolist(), factors["digit"].tolist()) == (["i-3"], [-1])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image_id": ["i-1"]}, "must have the column split"),
        ({"image_id": ["i-1"], "split": ["train"], "digit": [0.5]}, "column digit must hold integers, got double"),
    ],
)
def test_wrong_columns_are_refused(tmp_path, columns, message):
    pq.write_table(pa.table(columns), tmp_path / "labels.parquet")
    with pytest.raises(DataError, match=message):
        read_labels(tmp_path, "train")


def test_a_missing_or_damaged_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"labels\.parquet is missing; run stage preprocess"):
        read_labels(tmp_path, "train")
    (tmp_path / "labels.parquet").write_bytes(b"PAR1 half a file")
    with pytest.raises(DataError, match="must be a complete Parquet file"):
        read_labels(tmp_path, "train")
