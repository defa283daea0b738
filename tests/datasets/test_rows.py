"""Rows of numbers in files become the same float32 rows in the store, whatever holds them; odd ones are set aside."""

import json

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.core.storage import write_json
from pipeline.datasets.prepare.build import prepare_images
from pipeline.datasets.prepare.manifest import scan
from pipeline.datasets.readers.base import open_own, open_source
from pipeline.datasets.readers.rows import require_rows
from pipeline.datasets.store.identity import hash_rows
from pipeline.datasets.store.images import ImageStore
from pipeline.datasets.store.labels import read_labels
from pipeline.datasets.store.spec import InputSpec
from tests.datasets.builders import preprocess

N, WIDTH = 40, 6
ROWS = np.random.default_rng(0).normal(0, 50, (N, WIDTH)).astype(np.float32)
KINDS = np.arange(N) % 3
HOLDERS = ("npy", "npz", "h5", "parquet", "fixed.parquet", "double.parquet")


def write(folder, name: str, rows: np.ndarray) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"rows.{name}"
    kinds = np.arange(len(rows)) % 3
    if name == "npy":
        np.save(path, rows)
    elif name == "npz":
        np.savez(path, embeddings=rows, boxes=np.zeros((len(rows), 4)), kind=kinds)
    elif name == "h5":
        with h5py.File(path, "w") as file:
            file["features"], file["kind"] = rows, kinds
    else:
        lists = pa.array(list(rows.astype(np.float64 if name.startswith("double") else np.float32)))
        if name.startswith("fixed"):
            lists = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
        pq.write_table(pa.table({"embedding": lists, "kind": kinds}), path, row_group_size=7)
    return str(path)


def prepared(root, path: str, **changes) -> tuple[Layout, str, list[str]]:
    """Prepare rows; return where, what was counted, and what was told."""
    layout, told = Layout(root, "rows"), []
    for listed in (layout.joined, layout.removed):
        listed.parent.mkdir(parents=True, exist_ok=True)
        write_json(listed, [])
    source = {"npy": "npy", "npz": "npy", "h5": "hdf5", "parquet": "parquet"}[path.rpartition(".")[2]]
    params = preprocess(source=source, path=path, **changes)
    scan(layout, params)
    return layout, prepare_images(layout, params, told.append).text, told


@pytest.mark.parametrize("name", HOLDERS)
def test_rows_are_prepared_as_they_are(tmp_path, name):
    labels = None if name == "npy" else "inside"
    layout, text, told = prepared(tmp_path, write(tmp_path / "own", name, ROWS), labels=labels)
    assert (text, told) == ("all 40 are usable", []) or text.startswith("none of 40 set aside")
    found, ids = [], []
    for split in ("train", "test"):
        with ImageStore(layout.prepared / f"{split}.h5") as store:
            assert store.spec == InputSpec.features(WIDTH)
            found.append(store.read(0, store.n_images).reshape(-1, WIDTH))
            ids += store.image_ids().tolist()
            if labels:
                order, factors = read_labels(layout.prepared, split)
                rows = [ROWS.tolist().index(row) for row in found[-1].tolist()]
                assert factors["kind"].tolist() == KINDS[rows].tolist()
                assert order.tolist() == store.image_ids().tolist()
    assert len(found[1]) == 10
    assert sorted(np.concatenate(found).tolist()) == sorted(ROWS.tolist())
    assert len(set(ids)) == N
    assert "embedder" not in json.loads(ImageStore(layout.prepared / "test.h5").attributes["input"])


def test_the_same_rows_have_the_same_ids_in_every_file(tmp_path):
    ids = []
    for name in ("npy", "fixed.parquet", "double.parquet"):
        layout, _, _ = prepared(tmp_path / name, write(tmp_path / name, name, ROWS))
        with ImageStore(layout.prepared / "train.h5") as store:
            ids.append(store.image_ids().tolist())
    assert ids[0] == ids[1] == ids[2]


@given(st.integers(1, 300), st.integers(0, 99))
def test_rows_have_one_hash_exactly_where_all_numbers_are_equal(width, seed):
    rows = np.random.default_rng(seed).normal(size=(3, 1, 1, width)).astype(np.float32)
    rows[0, ..., 0], rows[1], rows[2] = 0.0, rows[0], rows[0]
    rows[1, ..., 0] = -0.0
    rows[2, ..., -1] = np.nextafter(rows[2, ..., -1], np.float32(9))
    hashes = hash_rows(rows)
    assert hashes[0] == hashes[1] != hashes[2]
    assert hash_rows(rows[:, :, :, ::-1].copy()[:1])[0] != hashes[0] or width == 1


@pytest.mark.parametrize("name", HOLDERS)
def test_rows_that_are_not_finite_are_set_aside_and_labels_stay_with_theirs(tmp_path, name):
    rows = ROWS.astype(np.float64) if name in ("npy", "npz", "h5") else ROWS.copy()
    rows[3, 1], rows[7, 0], rows[8, 5] = np.nan, np.inf, 1e300 if rows.dtype == np.float64 else -np.inf
    path = write(tmp_path / "own", name, rows)
    labels = None if name == "npy" else "inside"
    layout, text, _ = prepared(tmp_path, path, labels=labels)
    assert text == "3 of 40 set aside: 3 × holds NaN, infinite numbers or some beyond float32; mend the row"
    table = pq.read_table(layout.prepared / "quarantine.parquet").to_pylist()
    assert [row["file"] for row in table] == [f"rows.{name}[{place}]" for place in (3, 7, 8)]
    for split in ("train", "test"):
        with ImageStore(layout.prepared / f"{split}.h5") as store:
            places = [ROWS.tolist().index(row) for row in store.read(0, store.n_images).reshape(-1, WIDTH).tolist()]
        if labels:
            assert read_labels(layout.prepared, split)[1]["kind"].tolist() == KINDS[places].tolist()


def test_lists_without_numbers_or_of_another_length_are_set_aside(tmp_path):
    rows = [None, [], *ROWS.tolist(), [1.0, 2.0]]
    rows[5] = [*rows[5][:-1], None]
    pq.write_table(pa.table({"features": pa.array(rows, pa.list_(pa.float32()))}), tmp_path / "rows.parquet")
    _, text, _ = prepared(tmp_path, str(tmp_path / "rows.parquet"))
    assert text.startswith("4 of 43 set aside: 3 × has … numbers where others have 6; mend the row; 1 × holds NaN")


def test_a_column_of_images_comes_before_lists(tmp_path):
    table = pa.table({"image": pa.array([b"no image"] * N), "boxes": list(ROWS)})
    pq.write_table(table, tmp_path / "x.parquet")
    source = open_own(preprocess(), Layout(tmp_path, "x"), str(tmp_path / "x.parquet"))
    assert source.row_width() is None
    assert next(reason for block in source.blocks() for _, reason in block.rejected).startswith("is no image")


def test_splits_of_rows_are_the_files_own(tmp_path):
    np.savez(tmp_path / "x.npz", x_train=ROWS[:30], x_test=ROWS[30:], y_train=KINDS[:30], y_test=KINDS[30:])
    layout, _, _ = prepared(tmp_path, str(tmp_path / "x.npz"), labels="inside")
    with ImageStore(layout.prepared / "test.h5") as store:
        assert sorted(store.read(0, 10).reshape(-1, WIDTH).tolist()) == sorted(ROWS[30:].tolist())


def test_some_constant_features_are_named(tmp_path):
    rows = ROWS.copy()
    rows[:, [1, 4]] = [7, -2]
    _, _, told = prepared(tmp_path, write(tmp_path / "own", "npy", rows))
    assert told == ["2 of 6 features are the same in all rows and tell nothing (from 0: 1, 4)"]


REFUSED = {
    "whole numbers": (lambda: np.arange(80).reshape(40, 2), r"must hold floats as rows \(n, features\), got int64"),
    "texts": (lambda: np.array([["a", "b"]] * 9), r"must hold floats as rows \(n, features\), got <U1"),
    "one axis": (lambda: np.zeros(9, np.float32), r"or \(n, features\) of floats, got \(9,\)"),
    "a single number": (lambda: np.float32(3), "must be an array of images or rows, got a single number"),
    "no row": (lambda: np.zeros((0, 4)), r"must hold at least one row of at least one number, got shape \(0, 4\)"),
    "no feature": (lambda: np.zeros((4, 0)), r"must hold at least one row of at least one number, got shape \(4, 0\)"),
    "all rows the same": (lambda: np.ones((9, 4)), "rows must differ, got the same 4 numbers in all 9 of them"),
    "more features than rows": (
        lambda: ROWS[:5],
        "must be at least as many as their features, got 5 rows of 6; add rows",
    ),
    "no finite row": (lambda: np.full((9, 4), np.nan), "at least one usable row, got none .9 of 9 set aside"),
}


@pytest.mark.parametrize("rule", list(REFUSED))
def test_what_holds_no_rows_is_refused_and_nothing_written(tmp_path, rule):
    make, message = REFUSED[rule]
    np.save(tmp_path / "x.npy", make())
    with pytest.raises(DataError, match=message) as error:
        prepared(tmp_path, str(tmp_path / "x.npy"))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "data" / "prepared").exists() or not list((tmp_path / "data" / "prepared").iterdir())


def test_lists_of_whole_numbers_are_no_rows(tmp_path):
    pq.write_table(pa.table({"features": [[1, 2], [3, 4]]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="must hold floats as rows, got lists of int64 in column features; convert"):
        open_source(preprocess(source="parquet", path=str(tmp_path / "x.parquet")), Layout(tmp_path, "x")).fetch()


def test_of_several_columns_of_lists_one_must_be_named(tmp_path):
    pq.write_table(pa.table({"a": list(ROWS), "b": list(ROWS)}), tmp_path / "x.parquet")
    with pytest.raises(
        DataError, match=r"must have one column of lists of floats or one called 'features', got \['a', 'b'\]"
    ):
        open_source(preprocess(source="parquet", path=str(tmp_path / "x.parquet")), Layout(tmp_path, "x")).fetch()


def test_rows_of_splits_must_agree(tmp_path):
    np.savez(tmp_path / "x.npz", x_train=ROWS[:30], x_test=ROWS[30:, :4])
    with pytest.raises(
        DataError, match=r"the rows of all splits must agree in shape, .*; save arrays of as many columns"
    ):
        prepared(tmp_path, str(tmp_path / "x.npz"))


def test_a_row_has_bounds():
    require_rows("x", (2, 2**26), np.dtype(np.float32))
    with pytest.raises(DataError, match="x must have rows of at most 268435456 bytes, got 268435460; save fewer"):
        require_rows("x", (2, 2**26 + 1), np.dtype(np.float32))


@pytest.mark.parametrize("changes", [{"size": (8, 8)}, {"channels": "grey"}])
def test_rows_have_no_size_and_no_colours(tmp_path, changes):
    with pytest.raises(DataError, match="rows of numbers have neither size nor colours, got preprocess"):
        prepared(tmp_path, write(tmp_path / "own", "npy", ROWS), **changes)
