import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.core.errors import BusyError
from pipeline.core.layout import Layout
from pipeline.operations import locks
from pipeline.operations.locks import publish_lock, repository_lock

HOLDER = """
import sys, time
from pathlib import Path
from pipeline.operations.locks import repository_lock
with repository_lock(Path(sys.argv[1]), "rebuild digits"):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def hold(root: Path, seconds: float) -> subprocess.Popen[str]:
    """Start another process that holds the repository lock."""
    command = [sys.executable, "-c", HOLDER, str(root), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_holder_is_told_who_holds_the_lock_for_what_since_when(tmp_path: Path) -> None:
    with hold(tmp_path, 60) as process:
        year = time.strftime("%Y")
        said = rf"pid {process.pid} \(rebuild digits\) has held its lock since {year}-\d\d-\d\dT\d\d:\d\d:\d\d"
        with pytest.raises(BusyError, match=said), repository_lock(tmp_path, "tidy"):
            pass
        process.kill()


def test_whoever_waits_gets_the_lock_when_it_is_free(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with hold(tmp_path, 1.5), repository_lock(tmp_path, "tidy", wait_seconds=30.0) as held:
        assert json.loads(held.path.read_text())["purpose"] == "tidy"
        assert json.loads(held.path.read_text())["pid"] == os.getpid()
    assert "waiting, because pid" in capfd.readouterr().err


def test_a_killed_holder_frees_the_lock(tmp_path: Path) -> None:
    with hold(tmp_path, 60) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with repository_lock(tmp_path, "tidy"):
            pass


def test_a_child_that_inherits_the_lock_keeps_it_until_it_ends(tmp_path: Path) -> None:
    with repository_lock(tmp_path, "rebuild digits") as held:
        child = subprocess.Popen(["sleep", "60"], pass_fds=(held.descriptor,))
    with child:
        with pytest.raises(BusyError, match="rebuild digits"), repository_lock(tmp_path, "tidy"):
            pass
        child.kill()
        child.wait()
        with repository_lock(tmp_path, "tidy"):
            pass


def test_threads_and_nested_calls_exclude_each_other_too(tmp_path: Path) -> None:
    with (
        repository_lock(tmp_path, "outer"),
        pytest.raises(BusyError, match=r"\(outer\)"),
        repository_lock(tmp_path, "inner", wait_seconds=0.2),
    ):
        pass


def test_the_repository_lock_is_never_taken_inside_a_publish_lock(tmp_path: Path) -> None:
    with repository_lock(tmp_path, "rebuild"), publish_lock(Layout(tmp_path, "digits"), "publish"):
        pass
    with (
        publish_lock(Layout(tmp_path, "digits"), "publish"),
        pytest.raises(RuntimeError, match="before a publish lock"),
        repository_lock(tmp_path, "rebuild"),
    ):
        pass
    with repository_lock(tmp_path, "rebuild"):
        pass


def test_publish_locks_of_two_experiments_are_independent(tmp_path: Path) -> None:
    with publish_lock(Layout(tmp_path, "digits"), "publish"):
        with publish_lock(Layout(tmp_path, "mnist"), "publish"):
            pass
        with (
            pytest.raises(BusyError, match="may change what digits publishes"),
            publish_lock(Layout(tmp_path, "digits"), "ingest", wait_seconds=0.0),
        ):
            pass


def test_a_lock_file_deleted_meanwhile_does_not_let_two_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ".work" / "locks" / "repository.lock"
    flock = locks.fcntl.flock
    calls: list[int] = []

    def delete_and_lock(descriptor: int, operation: int) -> None:
        calls.append(descriptor)
        if len(calls) == 1:
            path.unlink()
        flock(descriptor, operation)

    monkeypatch.setattr(locks.fcntl, "flock", delete_and_lock)
    with repository_lock(tmp_path, "rebuild", wait_seconds=5.0) as held:
        assert len(calls) == 2
        assert path.stat().st_ino == os.fstat(held.descriptor).st_ino


def test_a_holder_that_has_not_yet_written_its_name_is_still_respected(tmp_path: Path) -> None:
    with repository_lock(tmp_path, "rebuild") as held:
        os.ftruncate(held.descriptor, 0)
        with pytest.raises(BusyError, match="not yet named itself"), repository_lock(tmp_path, "tidy"):
            pass


# As a user who may read what others left, but not write it; the superuser may write anything.
STRANGER = """
import os, sys
from pathlib import Path
from pipeline.operations.locks import repository_lock
os.chdir(sys.argv[1])
if not os.geteuid():
    os.seteuid(65534)
with repository_lock(Path(), "tidy"):
    print("held")
"""


def said_to_a_stranger(root: Path) -> str:
    """Return the last line that another user gets who wants the repository lock."""
    root.chmod(0o755)
    command = [sys.executable, "-c", STRANGER, str(root)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr.splitlines()[-1]


def test_a_lock_that_another_user_holds_names_the_user(tmp_path: Path) -> None:
    with repository_lock(tmp_path, "rebuild digits") as held:
        holder = json.loads(held.path.read_text())
        held.path.write_text(json.dumps({**holder, "user": "ada"}))
        held.path.chmod(0o444)
        assert f"pid {os.getpid()} of ada (rebuild digits) has held its lock since" in said_to_a_stranger(tmp_path)


@pytest.mark.parametrize("mode", [0o444, 0o000])
def test_a_free_lock_that_belongs_to_another_user_names_the_user(tmp_path: Path, mode: int) -> None:
    with repository_lock(tmp_path, "rebuild digits") as held:
        pass
    held.path.chmod(mode)
    said = said_to_a_stranger(tmp_path)
    assert "must be able to write .work/locks/repository.lock, but it belongs to " in said
    assert f"{held.path.owner()} and " in said


def test_who_may_lock_is_decided_by_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        with repository_lock(tmp_path, "tidy") as held:
            assert held.path.stat().st_mode & 0o777 == 0o664
    finally:
        os.umask(before)
