import gzip
import hashlib
import os
import time
from pathlib import Path

import pytest

from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.core.storage import read_json, write_json
from pipeline.datasets.decoding.pool import decode_files
from pipeline.datasets.decoding.worker import DecodeJob
from pipeline.datasets.prepare.manifest import FileHashes, require_pinned, scan
from pipeline.datasets.readers.base import open_source
from pipeline.datasets.readers.listing import list_folder
from tests.datasets.builders import preprocess
from tests.datasets.files import write_mnist
from tests.datasets.pictures import write_bad_entries


def settle(*paths: Path) -> None:
    """Make files look as if nobody had touched them for a while."""
    for path in paths:
        os.utime(path, (time.time() - 100, time.time() - 100))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    for name, data in (("cats/1.png", b"one"), ("cats/2.png", b"two"), ("dogs/1.png", b"three")):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        settle(path)
    return root


def open_hashes(tmp_path: Path) -> FileHashes:
    return FileHashes(tmp_path / "list.files.parquet")


def test_a_scan_pins_the_unpacked_content(tmp_path: Path) -> None:
    layout, params = Layout(tmp_path, "mnist"), preprocess(source="mnist")
    write_mnist(layout.raw / "mnist")
    value = scan(layout, params)
    path = layout.raw / "mnist" / "train-images-idx3-ubyte.gz"
    plain = gzip.decompress(path.read_bytes())
    assert value["files"]["train-images-idx3-ubyte"] == {
        "size": len(plain),
        "sha256": hashlib.sha256(plain).hexdigest(),
    }
    assert read_json(layout.source_manifest) == value
    path.unlink()
    path.with_suffix("").write_bytes(plain)
    assert scan(layout, params) == value


@pytest.mark.parametrize("has_number", [True, False])
def test_an_unchanged_source_leaves_the_json_alone(tmp_path: Path, has_number: bool) -> None:
    """That of an earlier release too, which had no number: a rewritten one would make all stages run again."""
    layout, params = Layout(tmp_path, "digits"), preprocess()
    pinned = scan(layout, params)
    assert pinned.pop("schema") == 1
    if not has_number:
        write_json(layout.source_manifest, pinned)
    require_pinned(layout, params, open_source(params, layout))
    settle(layout.source_manifest)
    before = layout.source_manifest.stat().st_mtime_ns
    scan(layout, params)
    assert layout.source_manifest.stat().st_mtime_ns == before


def test_moving_and_renaming_changes_nothing(tmp_path: Path, folder: Path) -> None:
    before = open_hashes(tmp_path).folder(str(folder), with_parents=False)
    assert (before["count"], before["bytes"]) == (3, 11)
    (folder / "cats/1.png").rename(folder / "dogs/9.jpg")
    assert open_hashes(tmp_path).folder(str(folder), with_parents=False) == before


def test_parents_count_where_they_are_labels(tmp_path: Path, folder: Path) -> None:
    before = open_hashes(tmp_path).folder(str(folder), with_parents=True)
    (folder / "cats/1.png").rename(folder / "cats/9.png")
    assert open_hashes(tmp_path).folder(str(folder), with_parents=True) == before
    (folder / "cats/9.png").rename(folder / "dogs/9.png")
    assert open_hashes(tmp_path).folder(str(folder), with_parents=True) != before


def test_changed_content_changes_the_root(tmp_path: Path, folder: Path) -> None:
    before = open_hashes(tmp_path).folder(str(folder), with_parents=False)
    (folder / "cats/1.png").write_bytes(b"eno")
    after = open_hashes(tmp_path).folder(str(folder), with_parents=False)
    assert after["root"] != before["root"]
    assert after["bytes"] == before["bytes"]


def test_settled_files_are_hashed_once(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_hashes(tmp_path)
    value = first.folder(str(folder), with_parents=False)
    first.save()
    monkeypatch.setattr(
        "pipeline.datasets.prepare.manifest._hash_content", lambda path: pytest.fail(f"hashed {path} again")
    )
    assert open_hashes(tmp_path).folder(str(folder), with_parents=False) == value


def test_files_that_may_still_change_are_hashed_again(tmp_path: Path, folder: Path) -> None:
    fresh = folder / "cats/1.png"
    fresh.write_bytes(b"abc")
    status = fresh.stat()
    first = open_hashes(tmp_path)
    before = first.folder(str(folder), with_parents=False)
    first.save()
    fresh.write_bytes(b"xyz")
    os.utime(fresh, ns=(status.st_atime_ns, status.st_mtime_ns))  # within one tick of a coarse clock
    assert open_hashes(tmp_path).folder(str(folder), with_parents=False) != before


def test_a_damaged_list_is_only_a_lost_memory(tmp_path: Path, folder: Path) -> None:
    before = open_hashes(tmp_path)
    value = before.folder(str(folder), with_parents=False)
    before.save()
    (tmp_path / "list.files.parquet").write_bytes(b"PAR1 and nothing else")
    assert open_hashes(tmp_path).folder(str(folder), with_parents=False) == value


def test_only_regular_visible_files_inside_count(tmp_path: Path, folder: Path) -> None:
    outside = tmp_path / "secret.png"
    outside.write_bytes(b"secret")
    (folder / "inner.png").symlink_to(folder / "cats/1.png")
    before = open_hashes(tmp_path).folder(str(folder), with_parents=False)
    assert before["count"] == 4
    (folder / "link.png").symlink_to(outside)
    (folder / ".hidden.png").write_bytes(b"hidden")
    (folder / ".cache").mkdir()
    (folder / ".cache/x.png").write_bytes(b"hidden")
    os.mkfifo(folder / "pipe.png")
    (folder / "loop").symlink_to(folder)
    (folder / "round.png").symlink_to("round.png")
    assert open_hashes(tmp_path).folder(str(folder), with_parents=False) == before


def test_a_url_is_streamed(tmp_path: Path) -> None:
    import fsspec

    with fsspec.open("memory://bucket/images.npy", "wb") as file:
        file.write(b"content")  # pyright: ignore
    found = open_hashes(tmp_path).file("memory://bucket/images.npy")
    assert found == {"size": 7, "sha256": hashlib.sha256(b"content").hexdigest()}


def test_a_missing_url_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"memory://bucket/absent\.npy must be readable, but"):
        open_hashes(tmp_path).file("memory://bucket/absent.npy")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.npy is missing; put the file there"):
        open_hashes(tmp_path).file(str(tmp_path / "absent.npy"))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must be a folder of images; mount it or correct preprocess.path"):
        open_hashes(tmp_path).folder(str(tmp_path / "absent"), with_parents=False)


@pytest.mark.parametrize("links", [None, False])
def test_a_scan_gives_the_reasons_that_reading_gives(tmp_path: Path, links: bool | None) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    bad = write_bad_entries(folder, tmp_path / "outside")
    (folder / "round").symlink_to(folder)
    (folder / "odd.png").symlink_to("odd.png")
    hashes = open_hashes(tmp_path)
    hashes.folder(str(folder), with_parents=False, links=links)
    refused = dict(hashes.refused)
    assert refused.keys() == bad.keys() | {"round", "odd.png"}
    listing = list_folder(str(folder), links=links)
    job = DecodeJob(listing.root, 1000, None, pixel_bytes=None, with_encoded=False)
    read = {file.name: file.reason for some in decode_files(job, listing.items(), 1) for file in some}
    assert refused == dict(listing.rejected) | read


def test_a_damaged_gzip_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"x" * 1000)[:-6])
    with pytest.raises(DataError, match=r"a\.gz must be a complete gzip file"):
        open_hashes(tmp_path).file(str(path))


@pytest.mark.parametrize("text", ["[]", "null", '"x"', "3"])
def test_a_pin_that_is_no_object_is_said_in_one_line(tmp_path: Path, text: str) -> None:
    layout, params = Layout(tmp_path, "digits"), preprocess()
    scan(layout, params)
    layout.source_manifest.write_text(text)
    with pytest.raises(DataError, match=r"digits.json must hold a JSON object, got .*; run facets check --repair"):
        require_pinned(layout, params, open_source(params, layout))
    assert isinstance(scan(layout, params), dict)
