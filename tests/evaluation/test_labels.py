import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.errors import DataError
from pipeline.datasets.store.images import ImageStore
from pipeline.evaluation.labels import read_factors
from tests.evaluation.known import known_images, write_prepared

IMAGES = {"train": known_images([0, 1, 2], [0, 0, 1]), "test": known_images([1, 1], [0, 1])}


def factors_of(folder, hints=None):
    with ImageStore(folder / "train.h5") as train, ImageStore(folder / "test.h5") as test:
        return read_factors(folder, train, test, hints)


def test_values_become_classes_and_unknown_stays_unknown(tmp_path):
    write_prepared(
        tmp_path,
        IMAGES,
        {
            "sparse": {"train": [70, -1, 9], "test": [70, 8]},
            "only_train": {"train": [0, 1, 2], "test": [-1, -1]},
            "constant": {"train": [4, -1, 4], "test": [4, 4]},
        },
    )
    factors = factors_of(tmp_path)
    assert set(factors) == {"sparse"}
    np.testing.assert_array_equal(factors["sparse"].values, [8, 9, 70])
    np.testing.assert_array_equal(factors["sparse"].train, [2, -1, 1])
    np.testing.assert_array_equal(factors["sparse"].test, [2, 0])


def test_labels_are_matched_by_image_id(tmp_path):
    write_prepared(tmp_path, IMAGES, {"shape": {"train": [4, 5, 6], "test": [5, 6]}})
    table = pq.read_table(tmp_path / "labels.parquet")
    pq.write_table(table.take([4, 2, 0, 3, 1]), tmp_path / "labels.parquet")
    shape = factors_of(tmp_path)["shape"]
    np.testing.assert_array_equal(shape.values[shape.train], [4, 5, 6])
    np.testing.assert_array_equal(shape.values[shape.test], [5, 6])


def test_no_labels_at_all(tmp_path):
    write_prepared(tmp_path, IMAGES, {})
    assert factors_of(tmp_path) == {}


def test_labels_of_other_images_are_refused(tmp_path):
    write_prepared(tmp_path, IMAGES, {"shape": {"train": [4, 5, 6], "test": [5, 6]}})
    table = pq.read_table(tmp_path / "labels.parquet")
    pq.write_table(table.slice(1), tmp_path / "labels.parquet")
    with pytest.raises(DataError, match=r"one row for each of the 3 images .* got 2; run stage preprocess"):
        factors_of(tmp_path)
    other = table.set_column(0, "image_id", pa.array(["i-other", *table["image_id"].to_pylist()[1:]]))
    pq.write_table(other, tmp_path / "labels.parquet")
    with pytest.raises(DataError, match="i-train000000000000 is missing"):
        factors_of(tmp_path)
