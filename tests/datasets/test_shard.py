import errno
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.errors import DataError, ResourceError
from pipeline.core.image_ids import ContentSet, format_ids, short_ids
from pipeline.core.layout import Layout
from pipeline.core.storage import read_json, write_json
from pipeline.core.upgrades import BATCH
from pipeline.datasets.decoding import pool as decode_pool
from pipeline.datasets.decoding.transform import ImageTransform
from pipeline.datasets.delivery.delivery import open_delivery
from pipeline.datasets.delivery.shard import ShardResult, copy_shard, write_shard
from pipeline.datasets.readers.base import recognise
from pipeline.datasets.store.identity import hash_images
from pipeline.datasets.store.images import ImageStore
from pipeline.table_format.ids import content_hashes
from pipeline.tables.parts import read_ids
from tests.datasets.builders import DecodeHere, preprocess
from tests.datasets.pictures import BAD_FILES, encode, noise, picture, write_bad_entries, write_bad_files

NOW = datetime(2026, 1, 2, tzinfo=UTC).isoformat()
NOTHING = ContentSet.of_ids([])
TRANSFORM = ImageTransform((6, 8), "stretch", "rgb")


def ingest(
    layout: Layout, location: str | Path, known: ContentSet = NOTHING, removed: ContentSet = NOTHING
) -> ShardResult:
    delivery = open_delivery(layout, preprocess(), str(location), workers=1)
    return write_shard(layout, delivery, TRANSFORM, known=known, removed=removed, created=NOW)


def put(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def ids_of(*pixels: np.ndarray) -> list[str]:
    hashes = hash_images([image.transpose(2, 0, 1) if image.ndim == 3 else image[None] for image in pixels])
    return format_ids(hashes, np.ones(len(hashes), np.int64)).astype(str).tolist()


def with_old_ids(shard: Path) -> None:
    """Make of a batch what a release with ids of 64 bits would have written."""
    with h5py.File(shard / "shard.h5", "r+") as file:
        old = short_ids(file["image_id"][:].astype(str).tolist())
        del file["image_id"]
        file["image_id"] = old.astype("S28")
    table = pq.read_table(shard / "images.parquet")
    pq.write_table(table.set_column(0, table.schema.field(0), pa.array(old.tolist())), shard / "images.parquet")
    record = read_json(shard / "batch.json")
    write_json(shard / "batch.json", {key: record[key] for key in record if key not in ("schema", "id_bits")})


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "repo", "mine")


@pytest.fixture(autouse=True)
def _decode_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_pool, "_Pool", DecodeHere)


# --- what a shard holds -----------------------------------------------------------------------------------------------


def test_equal_sizes_are_kept_as_pixels(layout, tmp_path):
    folder = put(tmp_path / "in", {f"{i}.png": encode(picture(i)) for i in range(70)})
    result = ingest(layout, folder)
    assert result.batch_id is not None
    assert (result.n_images, result.duplicates, result.quarantined) == (70, 0, [])
    names = sorted(f"{i}.png" for i in range(70))
    pictures = [picture(int(name.removesuffix(".png"))) for name in names]
    shard = layout.batches / result.batch_id
    with ImageStore(shard / "shard.h5") as store:
        assert not store.is_encoded
        assert np.array_equal(store.read(0, 70), np.stack(pictures).transpose(0, 3, 1, 2))
        assert store.image_ids().tolist() == ids_of(*pictures)
        assert set(store.batch_ids()) == {result.batch_id}
    with ImageStore(shard / "shard.h5", TRANSFORM) as store:
        assert store.spec.shape == (3, 6, 8)
    table = pq.read_table(shard / "images.parquet").to_pydict()
    assert table["path"] == names
    assert table["image_id"] == ids_of(*pictures)
    assert table["position"] == list(range(70))
    assert {*table["height"], *table["width"]} == {12, 16}
    assert read_json(shard / "batch.json") == {
        "schema": BATCH.schema,
        "id": result.batch_id,
        "created": NOW,
        "source": str(folder),
        "n_images": 70,
        "id_bits": 128,
        "quarantined": 0,
        "duplicates": 0,
    }
    assert sorted(path.name for path in layout.batches.iterdir()) == [result.batch_id]


@pytest.mark.parametrize("odd_at", [0, 30, 69])
def test_differing_sizes_are_kept_as_encoded_bytes_whenever_they_show(layout, tmp_path, odd_at):
    pictures = [picture(i) if i != odd_at else picture(i, 30, 10)[:, :, 0] for i in range(70)]
    folder = put(tmp_path / "in", {f"{i:02}.png": encode(pixels) for i, pixels in enumerate(pictures)})
    result = ingest(layout, folder)
    assert result.n_images == 70
    with ImageStore(layout.batches / str(result.batch_id) / "shard.h5", TRANSFORM) as store:
        assert store.is_encoded
        assert store.image_ids().tolist() == ids_of(*pictures)
        expected = TRANSFORM.apply([np.atleast_3d(pixels).transpose(2, 0, 1) for pixels in pictures])
        assert np.array_equal(store.read(0, 70), expected)
    sizes = pq.read_table(layout.batches / str(result.batch_id) / "images.parquet").to_pydict()
    assert (sizes["height"][odd_at], sizes["width"][odd_at]) == (30, 10)


def test_large_photographs_are_kept_as_their_files(layout, tmp_path):
    files = {f"{i}.jpg": encode(picture(i, 200, 150), "JPEG") for i in range(3)}
    result = ingest(layout, put(tmp_path / "in", files))
    with ImageStore(layout.batches / str(result.batch_id) / "shard.h5", TRANSFORM) as store:
        assert store.encoded(0, 3) == list(files.values())


def test_bad_images_are_quarantined_and_the_rest_goes_on(layout, tmp_path):
    folder = put(tmp_path / "in", {f"good{i}.png": encode(picture(i)) for i in range(3)})
    write_bad_files(folder)
    reasons = write_bad_entries(folder, tmp_path / "outside") | {
        name: reason for name, (_, reason) in BAD_FILES.items()
    }
    result = ingest(layout, folder)
    assert result.n_images == 3
    assert {name for name, _ in result.quarantined} == reasons.keys()
    table = pq.read_table(layout.batches / str(result.batch_id) / "quarantine.parquet").to_pydict()
    assert list(zip(table["file"], table["reason"], strict=True)) == result.quarantined
    assert read_json(layout.batches / str(result.batch_id) / "batch.json")["quarantined"] == len(reasons)


@pytest.mark.parametrize("kind", ["npy", "npz", "h5", "parquet", "folder of parquet"])
def test_every_kind_of_delivery_gives_the_same_ids(layout, tmp_path, kind):
    pictures = np.stack([picture(i) for i in range(5)])
    path = tmp_path / f"x.{kind}"
    if kind == "npy":
        np.save(path, pictures)
    elif kind == "npz":
        np.savez(path, images=pictures)
    elif kind == "h5":
        with h5py.File(path, "w") as file:
            file["images"] = pictures
    else:
        path = path if kind == "parquet" else tmp_path / "parts" / "x.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(pa.table({"image": [encode(image) for image in pictures]}), path)
        path = path if kind == "parquet" else path.parent
    by_file = ingest(layout, path)
    by_folder = ingest(layout, put(tmp_path / "in", {f"{i}.png": encode(pictures[i]) for i in range(5)}))
    assert by_file.batch_id == by_folder.batch_id
    with ImageStore(layout.batches / str(by_file.batch_id) / "shard.h5") as store:
        assert store.image_ids().tolist() == ids_of(*pictures)


# --- identity ---------------------------------------------------------------------------------------------------------


def test_batch_is_named_by_content_not_by_names_or_order(layout, tmp_path):
    one = ingest(layout, put(tmp_path / "a", {"1.png": encode(picture(1)), "2.png": encode(picture(2))}))
    shard = layout.batches / str(one.batch_id) / "shard.h5"
    written = shard.stat().st_mtime_ns
    two = ingest(layout, put(tmp_path / "b", {"x.bmp": encode(picture(2), "BMP"), "y.png": encode(picture(1))}))
    other = ingest(layout, put(tmp_path / "c", {"1.png": encode(picture(1))}))
    assert one.batch_id == two.batch_id != other.batch_id
    assert shard.stat().st_mtime_ns == written


def test_known_and_repeated_content_is_not_taken_twice(layout, tmp_path):
    first = ingest(layout, put(tmp_path / "a", {f"{i}.png": encode(picture(i)) for i in range(4)}))
    known = ContentSet(content_hashes(read_ids(layout.batches / str(first.batch_id) / "images.parquet")))
    again = ingest(layout, tmp_path / "a", known)
    assert again == ShardResult(None, 0, 4, [])
    half = ingest(layout, put(tmp_path / "b", {f"{i}.png": encode(picture(i)) for i in (2, 3, 7, 8)}), known)
    assert (half.n_images, half.duplicates) == (2, 2)
    twins = ingest(layout, put(tmp_path / "c", {"1.png": encode(picture(50)), "2.bmp": encode(picture(50), "BMP")}))
    assert (twins.n_images, twins.duplicates) == (1, 1)
    assert {path.name for path in layout.batches.iterdir()} == {first.batch_id, half.batch_id, twins.batch_id}


def test_removed_images_do_not_come_back(layout, tmp_path):
    folder = put(tmp_path / "a", {"1.png": encode(picture(1)), "2.png": encode(picture(2))})
    removed = ContentSet(hash_images([picture(1).transpose(2, 0, 1)]))
    result = ingest(layout, folder, removed=removed)
    assert result.n_images == 1
    ((name, reason),) = result.quarantined
    assert name == "1.png"
    assert reason.startswith("was removed from this experiment and is not taken again")


def test_images_that_the_model_cannot_take_are_quarantined(layout, tmp_path):
    np.save(tmp_path / "x.npy", noise(3, 9, 9, 4))
    result = ingest(layout, tmp_path / "x.npy")
    assert result.batch_id is None
    assert [reason for _, reason in result.quarantined] == [
        "channels 'rgb' needs images of 1 or 3 channels, got 4; set preprocess.channels to source"
    ] * 3


# --- faults -----------------------------------------------------------------------------------------------------------


def test_failure_leaves_nothing(layout, tmp_path, monkeypatch):
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = put(tmp_path / "a", {"1.png": encode(picture(1))})
    monkeypatch.setattr("pipeline.datasets.delivery.shard.write_json", fail)
    with pytest.raises(ResourceError, match=r"batches/mine must be writable, but: No space left on device; mend that"):
        ingest(layout, folder)
    assert list(layout.batches.iterdir()) == []


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("nowhere", r"nowhere is missing; correct the path"),
        ("note.txt", r"note.txt must be a folder of images or end in .npy, .npz, .h5, .hdf5, .parquet, .tar, .*; put"),
        ("bad.npy", r"bad.npy must have a NumPy array header, but the magic string is not correct"),
        ("bad.parquet", r"bad.parquet must be a complete Parquet file, but"),
    ],
)
def test_deliveries_that_are_none_are_refused(layout, tmp_path, location, message):
    for name in ("note.txt", "bad.npy", "bad.parquet"):
        (tmp_path / name).write_bytes(b"only words")
    with pytest.raises(DataError, match=message):
        ingest(layout, tmp_path / location)


def test_urls_are_told_apart_by_their_ending():
    assert recognise("s3://bucket/images") == "folder"
    assert recognise("s3://bucket/x.npz") == "npy"
    assert recognise("https://host/x.parquet") == "parquet"


@pytest.mark.parametrize("mixed", [False, True])
def test_space_for_all_images_is_asked_for_with_the_first(layout, tmp_path, monkeypatch, mixed):
    files = {f"{i}.png": encode(picture(i, 12, 16 + (i % 2 if mixed else 0))) for i in range(40)}
    needed = sum(map(len, files.values())) if mixed else 40 * 12 * 16 * 3
    free = [int(needed * 0.9), int(needed * 1.1)]
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": free.pop(0)})())
    with pytest.raises(ResourceError, match=r"needs 0 MiB of free disk, but 0 MiB are left; free some space"):
        ingest(layout, put(tmp_path / "in", files))
    assert list(layout.batches.iterdir()) == []
    assert ingest(layout, tmp_path / "in").n_images == 40


# --- removal ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mixed", [False, True])
def test_copy_leaves_images_out_and_keeps_ids(layout, tmp_path, mixed):
    pictures = [picture(i, 12, 16 + (i if mixed else 0)) for i in range(5)]
    result = ingest(layout, put(tmp_path / "a", {f"{i}.png": encode(image) for i, image in enumerate(pictures)}))
    ids = ids_of(*pictures)
    source, target = layout.batches / str(result.batch_id), layout.batches / f"{result.batch_id}.1"
    assert copy_shard(source, target, [ids[1], ids[4], f"i-{0:032x}"]) == 3
    kept = [pictures[i] for i in (0, 2, 3)]
    with ImageStore(target / "shard.h5", TRANSFORM) as store:
        assert store.image_ids().tolist() == ids_of(*kept)
        assert set(store.batch_ids()) == {result.batch_id}
        assert np.array_equal(store.read(0, 3), TRANSFORM.apply([image.transpose(2, 0, 1) for image in kept]))
    assert pq.read_table(target / "images.parquet")["path"].to_pylist() == ["0.png", "2.png", "3.png"]
    assert read_json(target / "batch.json")["n_images"] == 3
    assert copy_shard(source, layout.batches / "none", ids) == 0
    assert not (layout.batches / "none").exists()


@pytest.mark.parametrize("mixed", [False, True])
def test_copy_gives_images_of_an_earlier_release_ids_of_today(layout, tmp_path, mixed):
    pictures = [picture(i, 12, 16 + (i if mixed else 0)) for i in range(5)]
    result = ingest(layout, put(tmp_path / "a", {f"{i}.png": encode(image) for i, image in enumerate(pictures)}))
    source, target = layout.batches / str(result.batch_id), layout.batches / "copy"
    today = ids_of(*pictures)
    with_old_ids(source)
    assert copy_shard(source, target, [short_ids(today)[2]]) == 4
    left = [today[i] for i in (0, 1, 3, 4)]
    with ImageStore(target / "shard.h5") as store:
        assert store.image_ids().tolist() == left
    assert pq.read_table(target / "images.parquet")["image_id"].to_pylist() == left
    assert read_json(target / "batch.json")["id_bits"] == 128
    with h5py.File(source / "shard.h5", "r+") as file:
        file["image_id"][1] = b"i-0123456789abcdef"
    with pytest.raises(DataError, match="image i-0123456789abcdef must have the content that its id names"):
        copy_shard(source, layout.batches / "other", [])
    assert not (layout.batches / "other").exists()


# --- a whole delivery -------------------------------------------------------------------------------------------------


def test_thousand_files_with_thirty_bad_ones_cost_little_memory(tmp_path):
    """In a process of its own, with decoding processes, whose peak is that of the worst bomb."""
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(970):
        kind = ("PNG", "JPEG")[i % 2]
        (folder / f"{i}.{kind.lower()}").write_bytes(encode(picture(i, 24, 20 + i % 3), kind))
    write_bad_files(folder)
    for name in list(BAD_FILES)[23:]:
        (folder / name).unlink()
    reasons = write_bad_entries(folder, tmp_path / "outside")
    program = """
import resource, sys
from pathlib import Path
from pipeline.core.image_ids import ContentSet
from pipeline.datasets.delivery.delivery import open_delivery
from pipeline.datasets.delivery.shard import write_shard
from pipeline.datasets.decoding.transform import ImageTransform
from pipeline.core.layout import Layout
from tests.datasets.builders import preprocess
layout, nothing = Layout(Path(sys.argv[1], "repo"), "mine"), ContentSet.of_ids([])
delivery = open_delivery(layout, preprocess(), str(Path(sys.argv[1], "in")), 2)
transform = ImageTransform((8, 8), "stretch", "rgb")
result = write_shard(layout, delivery, transform, known=nothing, removed=nothing, created="2026-01-01")
children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // (1024 if sys.platform == "linux" else 2**20)
print(delivery.n_images, result.n_images, len(result.quarantined), children)
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    output = subprocess.run(command, cwd=Path(__file__).parents[2], check=True, capture_output=True, text=True).stdout
    n_files, n_images, n_bad, peak = map(int, output.split())
    assert len(reasons) == 7
    assert (n_files, n_images, n_bad) == (1000, 970, 30)
    assert 10 < peak < 200
