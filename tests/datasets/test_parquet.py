import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.datasets.prepare.manifest import FileHashes
from pipeline.datasets.readers.base import Source, open_source
from pipeline.datasets.readers.block import Block
from tests.datasets.builders import preprocess
from tests.datasets.pictures import encode, picture

IMAGES = [encode(picture(seed)) for seed in range(5)]


def parquet_source(root: Path, **changes: Any) -> Source:
    return open_source(preprocess(source="parquet", **{"path": "x.parquet", **changes}), Layout(root, "mine"))


def write(path: Path, **columns: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), path)


def read(source: Source) -> tuple[Block, dict[str, str]]:
    (block,) = source.blocks()
    return block, dict(block.rejected)


@pytest.mark.parametrize(
    "column",
    [
        pa.array(IMAGES),
        pa.array(IMAGES, pa.large_binary()),
        pa.array([{"bytes": data, "path": "x"} for data in IMAGES]),
    ],
    ids=["binary", "large binary", "structure"],
)
@pytest.mark.parametrize("name", ["image", "picture"])
def test_column_of_bytes_is_read(tmp_path, column, name):
    write(tmp_path / "x.parquet", **{name: column, "note": ["a"] * 5})
    source = parquet_source(tmp_path)
    source.fetch()
    block, rejected = read(source)
    assert source.n_images() == 5
    assert rejected == {}
    expected = [f"x.parquet[{row}]" for row in range(5)]
    assert list(block.paths) == (["x"] * 5 if pa.types.is_struct(column.type) else expected)
    assert np.array_equal(np.stack(list(block.images)), [picture(seed).transpose(2, 0, 1) for seed in range(5)])


def test_bad_rows_are_rejected_alone(tmp_path):
    write(tmp_path / "x.parquet", image=[IMAGES[0], None, b"", IMAGES[1][:50], IMAGES[2]], kind=list("abcde"))
    block, rejected = read(parquet_source(tmp_path, labels="inside"))
    assert list(block.paths) == ["x.parquet[0]", "x.parquet[4]"]
    assert block.labels["kind"].tolist() == [0, 4]
    assert rejected.keys() == {"x.parquet[1]", "x.parquet[2]", "x.parquet[3]"}
    assert rejected["x.parquet[1]"].startswith("is empty")
    assert rejected["x.parquet[3]"].startswith("is damaged or truncated")


def test_folder_of_parts_is_one_table(tmp_path):
    write(tmp_path / "parts" / "b.parquet", image=IMAGES[3:], kind=["x", "y"], count=[3, 4])
    write(tmp_path / "parts" / "a.parquet", image=IMAGES[:3], kind=["y", None, "x"], count=[0, 1, 2])
    source = parquet_source(tmp_path, path="parts", labels="inside")
    block, _ = read(source)
    assert list(block.paths) == [f"{part}.parquet[{row}]" for part, n in (("a", 3), ("b", 2)) for row in range(n)]
    assert block.labels["kind"].tolist() == [1, -1, 0, 0, 1]
    assert block.labels["count"].tolist() == [0, 1, 2, 3, 4]
    assert source.class_names() == {"kind": ["x", "y"]}
    assert sorted(source.fingerprint(FileHashes(tmp_path / "l"))["files"]) == ["a.parquet", "b.parquet"]


def test_csv_has_a_line_a_row(tmp_path):
    write(tmp_path / "x.parquet", image=IMAGES)
    (tmp_path / "x.csv").write_text("kind\n" + "".join(f"{i % 2}\n" for i in range(5)))
    source = parquet_source(tmp_path, labels="x.csv")
    assert read(source)[0].labels["kind"].tolist() == [0, 1, 0, 1, 0]
    assert source.class_names() == {}
    assert "labels" in source.fingerprint(FileHashes(tmp_path / "l"))


@pytest.mark.parametrize(
    ("columns", "changes", "message"),
    [
        (
            {"note": ["a"]},
            {},
            r"x.parquet must have one column of image files' bytes or one called 'image', got bytes in \[\]",
        ),
        (
            {"image": ["1.png"], "n": [1]},
            {},
            r"got bytes in \[\] of image: string, n: int64; write each image's file into it as binary, or pass the",
        ),
        (
            {"image": [[1, 2]]},
            {},
            "must hold floats as rows, got lists of int64 in column image; convert them",
        ),
        (
            {"image": pa.array([b"abcd"], pa.binary(4))},
            {},
            r"got bytes in \[\] of image: fixed_size_binary\[4\]; write each image's file into it as binary",
        ),
        ({"a": IMAGES, "b": IMAGES}, {}, r"got bytes in \['a', 'b'\] of \['a', 'b'\]; rename the column"),
        ({"image": IMAGES}, {"labels": "inside"}, r"must have the same columns of whole numbers or texts .* got \[\]"),
        ({"image": IMAGES, "split": ["a"] * 5}, {"labels": "inside"}, r"a factor's name must be .* got 'split'"),
        (
            {"image": IMAGES},
            {"labels": "folder"},
            r"labels: folder needs source folder, tar or zip, got a Parquet file",
        ),
        ({"image": IMAGES}, {"path": "y.parquet"}, r"y.parquet is missing; put the file there"),
        ({"image": IMAGES}, {"path": "shards"}, None),
    ],
)
def test_rules(tmp_path, columns, changes, message):
    write(tmp_path / "x.parquet", **columns)
    if message is None:
        (tmp_path / "shards").mkdir()
        (tmp_path / "x.parquet").rename(tmp_path / "shards" / "x.parquet")
        assert parquet_source(tmp_path, **changes).n_images() == 5
        return
    with pytest.raises(DataError, match=message):
        list(parquet_source(tmp_path, **changes).blocks())


def test_a_table_without_rows_is_refused(tmp_path):
    write(tmp_path / "x.parquet", image=pa.array([], pa.binary()))
    with pytest.raises(DataError, match=r"x.parquet must hold at least one row, got none; write it again or"):
        parquet_source(tmp_path).fetch()


def test_a_part_without_rows_is_passed_over(tmp_path):
    write(tmp_path / "parts" / "a.parquet", image=pa.array([], pa.binary()), kind=pa.array([], pa.string()))
    write(tmp_path / "parts" / "b.parquet", image=IMAGES, kind=list("xxyyx"))
    block, rejected = read(parquet_source(tmp_path, path="parts", labels="inside"))
    assert (len(block.paths), rejected, block.labels["kind"].tolist()) == (5, {}, [0, 0, 1, 1, 0])


def test_a_damaged_footer_is_damage_and_no_matter_of_access(tmp_path):
    write(tmp_path / "x.parquet", image=IMAGES)
    data = (tmp_path / "x.parquet").read_bytes()
    n_footer = int.from_bytes(data[-8:-4], "little")
    (tmp_path / "x.parquet").write_bytes(data[: -8 - n_footer] + b"\xff" * n_footer + data[-8:])
    with pytest.raises(DataError, match=r"x.parquet must be a complete Parquet file, but .*thrift.*; write it again"):
        parquet_source(tmp_path).fetch()


def test_parts_must_agree_and_exist(tmp_path):
    write(tmp_path / "parts" / "a.parquet", image=IMAGES, kind=["x"] * 5)
    write(tmp_path / "parts" / "b.parquet", image=IMAGES, other=["x"] * 5)
    with pytest.raises(DataError, match=r"b.parquet must have the same columns of whole numbers or texts as the first"):
        list(parquet_source(tmp_path, path="parts", labels="inside").blocks())
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match=r"none must hold files that end in .parquet, got none; correct the path"):
        parquet_source(tmp_path, path="none").fetch()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_fuzzed_files_give_an_error_or_images(tmp_path, data):
    path = tmp_path / "x.parquet"
    write(path, image=IMAGES[:2], kind=["a", "b"])
    damaged = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    blocks, message = [], str(tmp_path)
    try:
        blocks = list(parquet_source(tmp_path, labels="inside", max_pixels=10_000, size=(2, 2)).blocks())
    except DataError as error:
        message = str(error)
    assert message.startswith(str(tmp_path))
    assert all(image.shape[1:] == (2, 2) for block in blocks for image in block.images)


# --- as the datasets of Hugging Face are written ----------------------------------------------------------------------


def hugging_face(path: Path, **columns: Any) -> None:
    """Write thirty images with paths, a ClassLabel and other columns."""
    images = pa.array([{"bytes": encode(picture(i)), "path": f"birds/{i}.png"} for i in range(30)])
    table = pa.table({"image": images, "label": [i % 3 - 1 for i in range(30)], **columns})
    features = {"image": {"_type": "Image"}, "label": {"names": ["jay", "tit"], "_type": "ClassLabel"}}
    noted = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    pq.write_table(table.replace_schema_metadata(noted), path)


def test_names_of_classes_and_paths_are_kept(tmp_path):
    hugging_face(tmp_path / "x.parquet")
    source = parquet_source(tmp_path, labels="inside")
    block, _ = read(source)
    assert list(block.paths) == [f"birds/{i}.png" for i in range(30)]
    assert block.labels["label"].tolist() == [i % 3 - 1 for i in range(30)]  # -1 is no class
    assert source.class_names() == {"label": ["jay", "tit"]}


@pytest.mark.parametrize(
    "noted", [b"", b"[1]", b'{"info": 3}', b'{"info": {"features": {"label": {"_type": "ClassLabel", "names": [1]}}}}']
)
def test_a_note_that_names_no_classes_is_passed_over(tmp_path, noted):
    table = pa.table({"image": pa.array(IMAGES), "label": [0, 1, 0, 1, 0]})
    pq.write_table(table.replace_schema_metadata({b"huggingface": noted}), tmp_path / "x.parquet")
    source = parquet_source(tmp_path, labels="inside")
    assert read(source)[0].labels["label"].tolist() == [0, 1, 0, 1, 0]
    assert source.class_names() == {}


def test_ids_and_captions_are_no_labels(tmp_path):
    hugging_face(tmp_path / "x.parquet", caption=[f"a bird, the {i}th" for i in range(30)], id=list(range(30)))
    source = parquet_source(tmp_path, labels="inside")
    assert list(read(source)[0].labels) == ["label"]
    found = source.possible_labels()
    assert found.value == "inside"
    assert [remark.split(":")[0] for remark in found.remarks] == [
        "column caption is not used as a label",
        "column id is not used as a label",
    ]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_texts_are_labels_however_they_are_stored(tmp_path, kind):
    write(tmp_path / "x.parquet", image=pa.array(IMAGES), kind=pa.array(["a", "b", None, "b", "a"]).cast(kind))
    source = parquet_source(tmp_path, labels="inside")
    assert read(source)[0].labels["kind"].tolist() == [0, 1, -1, 1, 0]
    assert source.possible_labels().value == "inside"


def test_a_path_without_bytes_is_told_apart_from_an_empty_row(tmp_path):
    images = pa.array([{"bytes": None, "path": "a/1.png"}, {"bytes": None, "path": None}, {"bytes": IMAGES[0]}])
    write(tmp_path / "x.parquet", image=images)
    _, rejected = read(parquet_source(tmp_path))
    assert "has no bytes, only the path of a file; pass the folder" in rejected["a/1.png"]
    assert "is empty" in rejected["x.parquet[1]"]
