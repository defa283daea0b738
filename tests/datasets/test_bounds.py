"""Small files that blow up are refused in one line, at once and with little memory; blank but honest ones are read.

What each takes is measured in a process of its own.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.datasets.decoding.decode import decode_image
from pipeline.datasets.decoding.worker import DecodeJob, decode_chunk
from pipeline.datasets.files.bounds import most_file_bytes, most_seconds, require_count, require_unpacked, stored_bytes
from pipeline.datasets.files.location import open_location
from pipeline.datasets.readers.base import open_source
from pipeline.datasets.readers.block import rows_per_block
from tests.datasets import hostile
from tests.datasets.builders import preprocess
from tests.datasets.pictures import encode, picture

_READ = """
import json, os, resource, sys
from pathlib import Path
from pipeline.datasets.delivery.delivery import open_delivery
from pipeline.datasets.readers.base import open_source
from pipeline.core.errors import PipelineError
from pipeline.core.layout import Layout
from tests.datasets.builders import preprocess



def peak(pid):  # not ru_maxrss, which a process inherits from the one that started it
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return int(text.split("VmHWM:")[1].split()[0]) / 1024 if "VmHWM:" in text else 0.0


def children():
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


layout, how, path, kind, labels = Layout(Path.cwd(), "mine"), *sys.argv[1:]
n, message, workers, here = 0, "", 0.0, peak("self")
before = resource.getrusage(resource.RUSAGE_SELF)
try:
    if how == "delivery":
        for block in open_delivery(layout, preprocess(), path, 1).blocks:
            n += len(block.paths) + len(block.rejected)
            message = block.rejected[-1][1] if block.rejected else message
            workers = max([workers, *map(peak, children())])
    else:
        source = open_source(preprocess(source=kind, path=path, labels=labels or None), layout)
        source.fetch()
        for block in source.blocks():
            n += len(block.paths)
            message = block.rejected[-1][1] if block.rejected else message
except PipelineError as error:
    message = f"{type(error).__name__}: {error}"
after = resource.getrusage(resource.RUSAGE_SELF)
seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps([n, message, peak("self") - here, workers, seconds]))
"""

KINDS = {".npy": "npy", ".npz": "npy", ".h5": "hdf5", ".parquet": "parquet"}


def read_elsewhere(path: Path, how: str = "delivery", labels: str = "") -> tuple[int, str, float, float, float]:
    """Return images, last message, MiB taken here and by a worker, and seconds of work, all in another process."""
    command = [sys.executable, "-c", _READ, how, str(path), KINDS[path.suffix], labels]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, env=environment)
    assert found.stderr == ""
    n_images, message, mib, worker_mib, seconds = json.loads(found.stdout)
    return n_images, message, mib, worker_mib, seconds


BOMBS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "wide.h5": (
        lambda path: hostile.unallocated_hdf5(path, (10**10, 8, 8), (4096, 8, 8)),
        "must hold at most 1048576 images in its 1400 bytes, got 10000000000; split it",
    ),
    "tiny_images.h5": (
        lambda path: hostile.unallocated_hdf5(path, (5 * 10**7, 1, 1), (10**6, 1, 1)),
        "must hold at most 1048576 images in its 1400 bytes, got 50000000; split it",
    ),
    "never_written.h5": (
        lambda path: hostile.unallocated_hdf5(path, (10**6, 64, 64), (64, 64, 64)),
        "must have been written, got 0 bytes of the 4096000000 that it declares; cut it",
    ),
    "chunk.h5": (
        lambda path: hostile.expanding_chunk(path, 700),
        "must have chunks of 4096 bytes, got one that unpacks to more; write it again",
    ),
    "twice.h5": (hostile.twice_deflated, "must be deflated once, got a chain of filters [1, 1]; rewrite it"),
    "sparse.npy": (
        lambda path: hostile.sparse_npy(path, (10**10, 8, 8)),
        "must hold at most 1048576 images in its 4096 bytes, got 10000000000; split it",
    ),
    "hole.npy": (
        lambda path: hostile.sparse_npy(path, (10**6, 64, 64)),
        "must have been written, got 4096 bytes of the 4096000128 that it declares; cut it",
    ),
    "large_image.npy": (
        lambda path: hostile.sparse_npy(path, (1, 5000, 5000, 4), "<f8"),
        "must have images of at most 268435456 bytes, got 800000000 of float64; make them smaller or convert",
    ),
    "bzip2.npz": (hostile.bzip2_npz, "must be packed as NumPy does, got another method; use numpy.savez"),
    "rows.parquet": (
        lambda path: hostile.repeated_picture(path, 2**21),
        "must hold at most 1048576 images in its",
    ),
    "lying.parquet": (
        lambda path: hostile.lying_parquet(path, 200 * hostile.MIB),
        "must have pages that unpack to the 8 bytes that its footer states, got 209715",
    ),
    "chunks.h5": (
        lambda path: hostile.tiny_chunks(path, 1, 128),
        "must have at most 1048576 chunks, and 4096 an image, got 16384, and 16384 an image; rewrite it",
    ),
    "arrays.npz": (lambda path: hostile.many_arrays(path, 1001), "must hold at most 1000 arrays and groups, got more"),
    "arrays.h5": (lambda path: hostile.many_arrays(path, 1001), "must hold at most 1000 arrays and groups, got more"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_that_asks_for_much_is_refused_at_once(tmp_path: Path, name: str) -> None:
    make, message = BOMBS[name]
    path = make(tmp_path / name)
    assert path.stat().st_blocks * 512 < 4 * hostile.MIB
    n_images, found, mib, _, seconds = read_elsewhere(path, "delivery")
    assert (n_images, found.startswith("DataError: "), message in found) == (0, True, True), found
    assert mib < 100
    assert seconds < 5


def test_tiny_chunks_are_read_some_at_a_time(tmp_path: Path) -> None:
    n_images, found, mib, _, _ = read_elsewhere(hostile.tiny_chunks(tmp_path / "x.h5", 600, 8))
    assert (n_images, found) == (600, "")
    assert mib < 150, "one call for all of the 38,400 chunks takes 250 MiB"


@pytest.mark.parametrize("name", ["wide.h5", "sparse.npy"])
def test_so_is_one_that_is_a_source(tmp_path: Path, name: str) -> None:
    make, message = BOMBS[name]
    n_images, found, mib, _, _ = read_elsewhere(make(tmp_path / name), "source")
    assert (n_images, message in found) == (0, True), found
    assert mib < 100


@pytest.mark.parametrize("field", [None, "bytes"], ids=["plain", "structure"])
def test_a_value_in_many_rows_is_held_once(tmp_path: Path, field: str | None) -> None:
    path = hostile.repeated_value(tmp_path / "value.parquet", 20 * hostile.MIB, 24, field)
    n_images, reason, mib, worker_mib, _ = read_elsewhere(path)
    assert n_images == 24
    assert reason.startswith("is no image")
    assert mib < 500, "all rows at once are 480 MiB, and twice as many while they are copied"
    assert 30 < worker_mib < 300


def test_a_large_row_group_that_packs_like_nothing_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile.repeated_value(tmp_path / "x.parquet", 3 * hostile.MIB, 1)
    monkeypatch.setattr("pipeline.datasets.readers.parquet_file._GROUP_BYTES", hostile.MIB)
    with pytest.raises(
        DataError, match=r"must have row groups that unpack to at most 1048576 bytes a column, got 31457"
    ):
        array_source(tmp_path, "x.parquet").fetch()


def test_a_label_in_many_rows_is_held_once(tmp_path: Path) -> None:
    path = hostile.repeated_picture(tmp_path / "labels.parquet", 200, kind="x" * 5 * hostile.MIB)
    _, message, mib, _, _ = read_elsewhere(path, "source", "inside")
    assert "must hold labels of at most 65536 characters, got a longer one in kind; use short names" in message
    assert mib < 200, "all rows at once are 1000 MiB"


def test_labels_beside_an_array_are_bounded(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"] = np.zeros((1000, 4, 4), np.uint8)
        file.create_dataset("kind", (1000,), "S999999", chunks=(10,), compression="gzip")
    message = r"x.h5:/kind must hold labels of at most 65536 characters and 268435456 bytes in all, got more; use short"
    with pytest.raises(DataError, match=message):
        list(array_source(tmp_path, "x.h5", labels="inside").blocks())
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file["images"] = np.zeros((3, 4, 4), np.uint8)
        file["kind"] = ["a", "b", "x" * 70_000]
    with pytest.raises(DataError, match=message.replace("x.h5", "y.h5")):
        list(array_source(tmp_path, "y.h5", labels="inside").blocks())


def test_a_csv_of_labels_is_bounded(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((3, 4, 4), np.uint8))
    with (tmp_path / "x.csv").open("wb") as file:
        file.truncate(2**29 + 1)
    with pytest.raises(DataError, match=r"x.csv must be a CSV of at most 536870912 bytes, got more; leave other"):
        list(array_source(tmp_path, "x.npy", labels="x.csv").blocks())


def test_a_jpeg_of_many_scans_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(DataError, match=r"is a JPEG of more than 100 scans; save it anew with another program"):
        decode_image(hostile.many_scans(5000), 50_000_000)
    assert decode_image(hostile.many_scans(20), 50_000_000).shape == (3, 1024, 1024)


def test_scans_in_metadata_and_behind_the_image_do_not_count() -> None:
    data = encode(picture(0), "JPEG")
    comment = b"\xff\xfe" + (2 + 2 * 300).to_bytes(2, "big") + b"\xff\xda" * 300
    odd = data[:2] + comment + data[2:] + b"\xff\xda" * 300
    assert np.array_equal(decode_image(odd, 1000), decode_image(data, 1000))


def test_a_file_longer_than_its_pixels_is_refused_unread(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "long.png").write_bytes(encode(picture(0)))
    with (folder / "long.png").open("r+b") as file:
        file.truncate(2**40)
    (folder / "fine.png").write_bytes(encode(picture(0)))
    source = open_source(preprocess(source="folder", path=str(folder)), Layout(tmp_path, "mine"))
    (block,) = source.blocks()
    ((name, reason),) = block.rejected
    assert (name, len(block.paths)) == ("long.png", 1)
    assert "has 1099511627776 bytes, more than the 416777216 that an image of max_pixels = 50000000 needs" in reason


def test_small_files_of_many_pixels_are_not_held_together() -> None:
    blank = encode(np.zeros((2000, 2000, 3), np.uint8))
    job = DecodeJob(None, 50_000_000, None, pixel_bytes=None, with_encoded=False)
    outcomes = decode_chunk(job, [(f"{i}.png", blank) for i in range(64)])
    assert len(outcomes) == 2, "of 12 MB each"


# --- what must still be read ------------------------------------------------------------------------------------------


def array_source(root: Path, name: str, **changes: Any) -> Any:
    kind = KINDS[Path(name).suffix]
    return open_source(preprocess(source=kind, **{"path": name, **changes}), Layout(root, "mine"))


def count(source: Any) -> int:
    source.fetch()
    return sum(len(block.paths) for block in source.blocks())


def test_blank_images_are_read_however_well_they_pack(tmp_path: Path) -> None:
    blank = np.zeros((20_000, 32, 32), np.uint8)
    np.savez_compressed(tmp_path / "x.npz", images=blank)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("images", data=blank, chunks=(10_000, 32, 32), compression="gzip")
    assert (tmp_path / "x.npz").stat().st_size < blank.nbytes / 900
    assert count(array_source(tmp_path, "x.npz")) == 20_000
    assert count(array_source(tmp_path, "x.h5")) == 20_000


def test_a_file_with_gaps_is_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        images = file.create_dataset("images", (5000, 8, 8), np.uint8, chunks=(100, 8, 8), compression="gzip")
        images[1000:1200] = 7
    hostile.sparse_npy(tmp_path / "x.npy", (5000, 8, 8))
    blocks = list(array_source(tmp_path, "x.h5").blocks())
    pixels = np.concatenate([block.images for block in blocks])
    assert (len(pixels), int((pixels == 7).all(axis=(1, 2, 3)).sum())) == (5000, 200)
    assert count(array_source(tmp_path, "x.npy")) == 5000


def test_large_honest_chunks_are_looked_into_and_read(tmp_path: Path) -> None:
    """Of more rows than a block, and packed so little that they might hold anything."""
    values = np.random.default_rng(0).integers(0, 256, (40_000, 16, 16), np.uint8)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        options = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True}
        file.create_dataset("images", data=values, chunks=(35_000, 16, 16), **options)
    blocks = [block.images for block in array_source(tmp_path, "x.h5").blocks()]
    assert np.array_equal(np.concatenate(blocks)[:, 0], values)


def test_rows_longer_than_others_do_not_change_what_is_read(tmp_path: Path) -> None:
    """Row groups from which one, some and many rows are read at once."""
    rows = [encode(picture(seed)) for seed in range(70)]
    with pq.ParquetWriter(tmp_path / "x.parquet", pa.schema([("image", pa.binary())])) as writer:
        for group in (rows[:40], [bytes(20 * hostile.MIB), rows[40], rows[41]], rows[42:]):
            writer.write_table(pa.table({"image": group}))
    source = array_source(tmp_path, "x.parquet")
    found = [(list(block.paths), dict(block.rejected)) for block in source.blocks()]
    kept = [name for names, _ in found for name in names]
    assert [*{name for _, refused in found for name in refused}] == ["x.parquet[40]"]
    assert kept == [f"x.parquet[{row}]" for row in range(71) if row != 40]


def test_the_bounds() -> None:
    assert most_file_bytes(50_000_000) == 416_777_216
    assert most_file_bytes(10**12) == 2**31
    assert most_seconds(50_000_000) == 60
    assert rows_per_block(1) == 65_536
    require_count("x", 2**20, 0)
    require_count("x", 15_000_000, 15_000_000)
    with pytest.raises(DataError, match="at most 20000000 images in its 1000000000000 bytes, got 20000001"):
        require_count("x", 20_000_001, 10**12)
    require_unpacked("x", 2**34, 0)
    require_unpacked("x", 10**12, 10**9)
    with pytest.raises(DataError, match=r"must unpack to at most 17179869184 bytes from a file of 0, got 17179869185"):
        require_unpacked("x", 2**34 + 1, 0)


def test_holes_are_not_stored(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with path.open("wb") as file:
        for part in range(4):
            file.seek(part * 50 * hostile.MIB)
            file.write(b"x" * hostile.MIB)
        file.truncate(10**12)
    with open_location(str(path)) as opened:
        opened.seek(17)
        assert stored_bytes(opened, 10**12) == 4 * hostile.MIB
        assert opened.tell() == 17
