import errno
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from pipeline.datasets.store import hdf5_writer
from pipeline.datasets.store.hdf5_writer import write_hdf5

ROOT = Path(__file__).parents[2]

LIMITED = """
import resource, signal, sys
from pathlib import Path
import numpy as np
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
{body}
"""


def run_limited(body: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program whose files may have 200,000 bytes at most."""
    command = [sys.executable, "-c", LIMITED.format(body=body), str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_files_are_as_h5py_writes_them(tmp_path):
    with write_hdf5(tmp_path / "x.h5") as (file, _):
        file["a"] = np.arange(5)
    with write_hdf5(tmp_path / "x.h5", "r+") as (file, _):
        file["a"][2] = 7  # pyright: ignore[reportIndexIssue]
        file.attrs["b"] = "c"
    with h5py.File(tmp_path / "x.h5") as opened:
        assert opened["a"][:].tolist() == [0, 1, 7, 3, 4]  # pyright: ignore
        assert opened.attrs["b"] == "c"


def test_errors_of_the_body_pass_through(tmp_path):
    with pytest.raises(ZeroDivisionError), write_hdf5(tmp_path / "x.h5"):
        raise ZeroDivisionError


def test_full_disk_is_an_error_of_the_operating_system_and_no_crash(tmp_path):
    body = """
from pipeline.datasets.store.hdf5_writer import write_hdf5
try:
    with write_hdf5(Path(sys.argv[1], "x.h5")) as (file, disk):
        data = file.create_dataset("x", (0, 1000), np.uint8, maxshape=(None, 1000), chunks=(100, 1000))
        for i in range(10):
            data.resize((i + 1) * 100, axis=0)
            data[i * 100 :] = 1
except OSError as error:
    sys.exit(error.errno)
"""
    assert run_limited(body, tmp_path).returncode == errno.EFBIG


def test_shard_on_a_full_disk_is_refused_cleanly(tmp_path):
    body = """
from pipeline.datasets.delivery.delivery import open_delivery
from pipeline.datasets.delivery.shard import write_shard
from pipeline.datasets.decoding.transform import ImageTransform
from pipeline.core.errors import ResourceError
from pipeline.core.image_ids import ContentSet
from pipeline.core.layout import Layout
from tests.datasets.builders import preprocess
layout = Layout(Path(sys.argv[1]), "mine")
delivery = open_delivery(layout, preprocess(), str(Path(sys.argv[1], "x.npy")), 1)
nothing = ContentSet.of_ids([])
try:
    transform = ImageTransform((8, 8), "stretch", "grey")
    write_shard(layout, delivery, transform, known=nothing, removed=nothing, created="2026-01-01")
except ResourceError as error:
    print(error)
    sys.exit(error.exit_code)
"""
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 256, (1000, 20, 20), np.uint8))
    done = run_limited(body, tmp_path)
    assert done.returncode == 7, done.stderr
    assert "must be writable, but: File too large" in done.stdout
    assert [path.name for path in (tmp_path / "data" / "batches" / "mine").iterdir()] == []


def test_the_disk_is_set_to_work_after_every_part_and_nothing_else_changes(tmp_path, monkeypatch):
    begun: list[int] = []
    begin = hdf5_writer.begin_writing
    monkeypatch.setattr(hdf5_writer, "_WAITING_BYTES", 100_000)
    monkeypatch.setattr(hdf5_writer, "begin_writing", lambda descriptor: (begun.append(descriptor), begin(descriptor)))
    values = np.random.default_rng(0).integers(0, 256, 450_000, dtype=np.uint8)
    with write_hdf5(tmp_path / "x.h5") as (file, _):
        column = file.create_dataset("a", (0,), np.uint8, maxshape=(None,), chunks=(10_000,))
        for start in range(0, len(values), 50_000):
            column.resize(start + 50_000, axis=0)
            column[start:] = values[start : start + 50_000]
            file.flush()
    assert len(begun) == 4
    with h5py.File(tmp_path / "x.h5") as opened:
        assert np.array_equal(opened["a"], values)  # pyright: ignore
