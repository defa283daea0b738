"""What stage preprocess refuses, and what the message says."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import DataError, ResourceError
from pipeline.core.layout import Layout
from pipeline.core.storage import write_json
from pipeline.datasets.prepare.build import prepare_images
from pipeline.datasets.prepare.manifest import scan
from pipeline.datasets.readers.block import Block
from tests.datasets.builders import preprocess
from tests.datasets.fake_source import Fake, Prepare, contents, ids_of, make_block, make_images
from tests.datasets.files import write_mnist


def test_an_empty_test_split_is_refused(prepare: Prepare) -> None:
    with pytest.raises(
        DataError, match=r"the test split needs at least one image, got 0 with test_fraction 0.0 \(none of 5 set"
    ):
        prepare(make_block(make_images(5)), test_fraction=0.0)


def test_an_empty_training_split_is_refused(prepare: Prepare) -> None:
    with pytest.raises(DataError, match="the train split needs at least one image, got 0 with test_fraction"):
        prepare(make_block(make_images(1)), test_fraction=0.9)


def test_a_source_of_rejected_files_is_refused(prepare: Prepare) -> None:
    with pytest.raises(DataError, match=r"hold at least one usable image, got none \(2 of 2 set aside: "):
        prepare(Block(images=[], paths=[], rejected=[("a", "bad"), ("b", "bad")]))


@pytest.mark.parametrize("left", [[], ["notes.txt"], ["a.png"]], ids=["empty", "no image", "left out"])
def test_a_folder_without_images_is_refused_before_it_is_pinned(tmp_path: Path, left: list[str]) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    for name in left:
        (folder / name).write_bytes(b"x")
    params = preprocess(source="folder", path="own", exclude=("a*",))
    with pytest.raises(DataError, match=r"own must hold at least one image, got none \(.*put images there, or correct"):
        scan(Layout(tmp_path, "own"), params)
    assert not Layout(tmp_path, "own").source_manifest.exists()


def test_blocks_of_differing_shapes_are_refused(prepare: Prepare) -> None:
    blocks = make_block(make_images(3)), make_block(make_images(3, (3, 4, 4)))
    with pytest.raises(
        DataError, match=r"one shape after preprocessing .*, got \(1, 4, 4\) and \(3, 4, 4\); set preprocess"
    ):
        prepare(*blocks)


def test_a_missing_joined_batch_is_named(prepare: Prepare, tmp_path: Path) -> None:
    write_json(Layout(tmp_path, "fake").joined, ["b-0123456789ab"])
    with pytest.raises(DataError, match=r"joined/fake\.json names the batch b-0123456789ab, but .* is missing"):
        prepare(make_block(make_images(9)))


@pytest.mark.parametrize("value", [{}, "b-0123456789ab", [3]])
def test_a_list_of_ids_must_be_one(prepare: Prepare, tmp_path: Path, value: Any) -> None:
    write_json(Layout(tmp_path, "fake").joined, value)
    with pytest.raises(DataError, match=r"joined/fake\.json must be a JSON list of ids, got"):
        prepare(make_block(make_images(9)))


def test_a_removed_id_must_be_one(prepare: Prepare, tmp_path: Path) -> None:
    write_json(Layout(tmp_path, "fake").removed, ["17"])
    with pytest.raises(DataError, match=r"an image id must be i- and 32 hex digits, or 16 of an earlier .*, got '17'"):
        prepare(make_block(make_images(9)))


def test_a_source_that_was_not_scanned_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"sources/digits\.json is missing"):
        prepare_images(Layout(tmp_path, "digits"), preprocess())


def test_a_source_that_changed_is_refused(tmp_path: Path) -> None:
    layout, params = Layout(tmp_path, "mnist"), preprocess(source="mnist")
    write_mnist(layout.raw / "mnist")
    scan(layout, params)
    write_mnist(layout.raw / "mnist", n_train=31)
    with pytest.raises(
        DataError,
        match=r"the source must be as .* pins it, but files is .*; restore the files, or run facets scan mnist",
    ):
        prepare_images(layout, params)


def test_a_removal_meanwhile_is_noticed(prepare: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, removed = make_images(9), Layout(tmp_path, "fake").removed

    def remove_one(self: Fake) -> dict[str, list[str]]:
        write_json(removed, ids_of(images[:1]))
        return {}

    monkeypatch.setattr(Fake, "class_names", remove_one)
    with pytest.raises(DataError, match=r"must stay as they are while images are prepared, .* run again"):
        prepare(make_block(images))
    assert not Layout(tmp_path, "fake").prepared.exists()


def test_a_full_disk_is_refused_before_anything_is_written(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(ResourceError, match=r"needs .* of free disk"):
        prepare(make_block(make_images(5000)))


def test_a_failure_leaves_the_old_folder_and_nothing_else(prepare: Prepare) -> None:
    prepared = prepare(make_block(make_images(10)))
    before = contents(prepared)
    with pytest.raises(DataError, match="test split"):
        prepare(make_block(make_images(10)), test_fraction=0.0)
    assert contents(prepared) == before
    assert [path.name for path in prepared.parent.iterdir()] == ["fake"]
