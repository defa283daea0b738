"""Files that appear whole or not at all: who may read them, and what becomes of those of a killed writer."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.core.errors import DataError, ResourceError
from pipeline.core.sealed import read_sealed
from pipeline.core.storage import atomic_dir, atomic_file, remove_leftovers, temporary_dir, write_json
from tests.repository import PROJECT

WRITER = """
import sys, time
from pathlib import Path
from pipeline.core.storage import atomic_dir, atomic_file
with atomic_file(Path(sys.argv[1]) / "a" / "file") as file, atomic_dir(Path(sys.argv[1]) / "b" / "folder") as folder:
    file.write_text("half")
    (folder / "file").write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=[0o077, 0o022, 0o002])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_who_may_read_is_decided_by_the_umask(tmp_path: Path, umask: int) -> None:
    write_json(tmp_path / "a" / "b.json", {})
    with atomic_file(tmp_path / "c") as temporary:
        temporary.write_text("c")
    with atomic_dir(tmp_path / "d") as temporary:
        (temporary / "e").mkdir()
        (temporary / "e" / "f").touch()
    for path in tmp_path.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o777 if path.is_dir() else 0o666) & ~umask, path


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.tmp"))


def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_works_on_is_not(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        (tmp_path / "a" / "kept.tmp").touch()  # none of ours
        before = leftovers(tmp_path)
        assert len(before) == 3
        for age in (0, 2**31):  # as old as it may seem, by whatever clock
            for path in tmp_path.rglob(".*.tmp"):
                os.utime(path, (age, age))
            assert remove_leftovers(tmp_path) == []
        with atomic_dir(tmp_path / "b" / "folder"):
            pass
        assert set(leftovers(tmp_path)) == set(before)
        writer.kill()
    assert sorted(path.name for path in remove_leftovers(tmp_path)) == [name for name in before if name[0] == "."]
    assert leftovers(tmp_path) == ["kept.tmp"]


def test_a_temporary_folder_is_gone_at_the_end_however_it_ends(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), temporary_dir(tmp_path / "x") as folder:  # noqa: PT012
        (folder / "y").mkdir()
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match=r"file/x must be writable, but: (File exists|Not a directory); mend that"):
        write_json(tmp_path / "file" / "x", {})


@pytest.mark.parametrize("text", ["", '{"version": 1', "\x00\x00"])
def test_a_damaged_record_is_refused_with_the_command_that_mends_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"manifest\.json must be JSON, but .*; run facets check --repair$"):
        read_sealed(path)
    path.unlink()
    with pytest.raises(DataError, match=r"manifest\.json is missing; .*facets check --repair$"):
        read_sealed(path)
