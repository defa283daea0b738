"""Memory that runs out is one line and exit code 7, whoever notices it."""

import errno
import mmap
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import torch

from pipeline.core.errors import DataError, ResourceError
from pipeline.core.memory import as_out_of_memory, available_bytes, has_room, require_plenty
from tests.repository import PROJECT

_LIMITED = """
import resource, sys
import pipeline.operations.new, pipeline.onboarding.sample, pipeline.datasets.readers.arrays
from pipeline.cli import main
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + int(sys.argv[1]) * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))  # what ulimit -v sets
sys.argv = ["facets", *sys.argv[2:]]
main()
"""


def query_too_much() -> None:
    with duckdb.connect(config={"memory_limit": "10MB", "temp_directory": ""}) as database:
        database.execute("SELECT list(range) FROM range(100000000)").fetchall()


def map_too_much() -> None:
    mmap.mmap(-1, 2**60)


FAULTS: dict[str, Callable[[], object]] = {
    "numpy": lambda: np.empty(2**60, np.uint8),
    "python": lambda: bytearray(2**62),
    "arrow": lambda: pa.allocate_buffer(2**60),
    "torch": lambda: torch.empty(2**50),
    "duckdb": query_too_much,
    "system": map_too_much,
}


@pytest.mark.parametrize("name", FAULTS)
def test_every_library_s_lack_of_memory_is_understood(name: str) -> None:
    with pytest.raises(ResourceError, match=r"^the work needs more memory than there is.*; close other programs or"):
        lack(name)


def lack(name: str) -> None:
    with as_out_of_memory("the work"):
        FAULTS[name]()


@pytest.mark.parametrize("error", [OSError(errno.ENOENT, "x"), RuntimeError("x"), DataError("x"), ValueError("x")])
def test_other_errors_pass(error: Exception) -> None:
    with pytest.raises(type(error)) as found, as_out_of_memory("the work"):
        raise error
    assert found.value is error


def test_a_file_is_to_blame_only_where_there_is_plenty(monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_room(2**20)
    assert not has_room(2**60)
    require_plenty("reading x", MemoryError())
    monkeypatch.setattr("pipeline.core.memory._PLENTY", 2**60)
    require_plenty("reading x", ValueError("something else"))
    with pytest.raises(ResourceError, match=r"reading x needs more memory than there is \(malloc of size 5 failed\)"):
        require_plenty("reading x", pa.ArrowMemoryError("malloc of size 5 failed"))


def facets(folder: Path, mib: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _LIMITED, str(mib), *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


MIB = 2**20
NEW = {"own/memory.max": 700 * MIB, "own/memory.current": 500 * MIB, "own/memory.stat": f"anon 5\ninactive_file {MIB}"}
OLD = {
    "memory/own/memory.limit_in_bytes": 2**63 - 4096,
    "memory/own/memory.usage_in_bytes": 500 * MIB,
    "memory/own/memory.stat": "total_inactive_file 0",
    "memory/memory.limit_in_bytes": 600 * MIB,
    "memory/memory.usage_in_bytes": 500 * MIB,
    "memory/memory.stat": f"inactive_file 7\ntotal_inactive_file {MIB}",
}
LIMITS = {
    "none": ("", {}, 900),
    "of a group": ("0::/own\n", NEW, 201),
    "none of a group": ("0::/own\n", NEW | {"own/memory.max": "max"}, 900),
    "of a group above": ("5:cpu:/x\n4:memory:/own\n0::/\n", OLD, 101),
    "exceeded": ("0::/own\n", NEW | {"own/memory.current": 800 * MIB}, 0),
    "of the process": ("", {}, 40),
}


@pytest.mark.parametrize("limit", LIMITS)
def test_what_can_be_had_is_what_the_narrowest_limit_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    groups, files, expected = LIMITS[limit]
    files = {f"groups/{name}": text for name, text in files.items()}
    files |= {"proc/meminfo": f"MemFree: 1 kB\nMemAvailable:  {900 * 1024} kB\n", "proc/self/cgroup": groups}
    for name, text in {**files, "proc/self/status": "Name: x\nVmSize: 10240 kB\nVmData: 1 kB\n"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(str(text))
    monkeypatch.setattr("pipeline.core.memory._PROC", tmp_path / "proc")
    monkeypatch.setattr("pipeline.core.memory._GROUPS", tmp_path / "groups")
    of_process = 50 * MIB if limit == "of the process" else resource.RLIM_INFINITY
    limits = {resource.RLIMIT_AS: of_process, resource.RLIMIT_DATA: resource.RLIM_INFINITY}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limits[kind], limits[kind]))
    assert available_bytes() == expected * MIB


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit the address space")
def test_a_command_without_room_for_an_image_says_so_in_one_line(tmp_path: Path) -> None:
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    shades = np.arange(20, dtype=np.uint8).repeat(1_000_000)
    np.save(tmp_path / "large.npy", shades.reshape(20, 1000, 1000))
    before = (tmp_path / "params.yaml").read_bytes()
    found = facets(tmp_path, 1, "new", "mine", "large.npy", "--no-trial")
    assert (found.returncode, found.stdout) == (7, ""), found.stderr
    assert len(found.stderr.splitlines()) == 1, found.stderr
    assert "needs more memory than there is" in found.stderr
    assert (tmp_path / "params.yaml").read_bytes() == before
    enough = facets(tmp_path, 2000, "new", "mine", "large.npy", "--no-trial")
    assert enough.returncode == 0, enough.stderr


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("can't start new thread"),
        ImportError("x.so: failed to map segment from shared object"),  # as glibc says it
        ImportError("x.so: cannot allocate memory in static TLS block"),
    ],
)
def test_threads_and_libraries_are_memory_too(error: Exception) -> None:
    with pytest.raises(ResourceError, match=str(error)), as_out_of_memory("the work"):
        raise error
