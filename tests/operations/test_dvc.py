"""The adapter on real repositories with real DVC."""

import json
import os
import re
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from pipeline.core.errors import DataError, ResourceError
from pipeline.operations import dvc as adapter
from pipeline.operations.dvc import check_repository, query_dvc
from pipeline.operations.dvc_locks import clear_stale_locks, restore_lock_file
from pipeline.operations.locks import repository_lock
from tests.operations.mini import dvc, mini_repository


def test_a_run_streams_and_logs_every_line_and_a_second_runs_nothing(tmp_path: Path) -> None:
    root = mini_repository(tmp_path / "r", {"a": "echo hello > out-a && echo said"})
    lines: list[str] = []
    output = dvc(root, ["repro"], lines=lines)
    assert "said" in lines
    assert "Running stage 'a':" in lines
    assert output.log.read_text().splitlines() == list(output.lines)
    hints = [line for line in output.lines if line not in lines]
    assert hints[0] == "To track the changes with git, run:"
    assert hints[-1] == "Use `dvc push` to send your updates to remote storage."
    assert not [line for line in lines if "git add" in line or "autostage" in line]
    assert "Stage 'a' didn't change, skipping" in dvc(root, ["repro"]).lines
    with repository_lock(root, "test") as held:
        assert query_dvc(root, ["status", "--json"], held) == {}
        (root / "input").write_text("2\n")
        assert query_dvc(root, ["status", "--json"], held) == {"a": [{"changed deps": {"input": "modified"}}]}
        with pytest.raises(DataError, match=r"dvc --version must print JSON, got '3\."):
            query_dvc(root, ["--version"], held)
    mode = (root / ".dvc" / "site-cache").stat().st_mode & 0o777
    assert mode == 0o700


def test_a_stage_that_fails_deliberately_passes_on_its_error(tmp_path: Path) -> None:
    failing = "\"echo 'a: images must be square, got 3x4; crop them' >&2; exit 3\""
    root = mini_repository(tmp_path / "r", {"a": failing})
    with pytest.raises(DataError, match=r"^a: images must be square, got 3x4; crop them$"):
        dvc(root, ["repro"])


def test_a_stage_that_crashes_is_reported_with_its_last_lines_and_the_log(tmp_path: Path) -> None:
    root = mini_repository(tmp_path / "r", {"a": '"seq 1 80; kill -9 $$"'})
    with pytest.raises(ResourceError) as caught:
        dvc(root, ["repro"])
    message = str(caught.value)
    assert message.startswith("stage a must end with exit code 0, got -9; its last lines follow, all of them are in ")
    assert message.splitlines()[1:].count("80") == 1
    assert len(message.splitlines()) == 1 + adapter.TAIL_LINES
    log = root / ".work" / "logs" / "dvc-repro.log"
    assert str(log) in message
    assert set(map(str, range(1, 81))) <= set(log.read_text().splitlines())


def test_a_command_that_dvc_refuses_is_reported(tmp_path: Path) -> None:
    root = mini_repository(tmp_path / "r", {"a": "'true'"})
    with pytest.raises(ResourceError, match=r"dvc repro nothing must end with exit code 0, got 255"):
        dvc(root, ["repro", "nothing"])


def test_a_full_disk_is_named_where_dvc_says_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = mini_repository(tmp_path / "r", {"a": "'true'"})
    monkeypatch.setattr(adapter.shutil, "disk_usage", lambda _: SimpleNamespace(free=2**19))
    with pytest.raises(
        ResourceError, match=r"got 255, and only 0\.5 MiB of free disk are left: make room and run again"
    ):
        dvc(root, ["repro", "nothing"])


def test_cancelling_ends_dvc_and_the_stage(tmp_path: Path) -> None:
    root = mini_repository(tmp_path / "r", {"a": '"echo pid $$; sleep 100"'})
    cancel = threading.Event()
    pids: list[int] = []

    def see(line: str) -> None:
        if line.startswith("pid "):
            pids.append(int(line.split()[1]))
            cancel.set()

    with repository_lock(root, "test") as held, pytest.raises(ResourceError, match="dvc repro was cancelled; run it"):
        adapter.run_dvc(root, ["repro"], held, see, cancel)
    assert not psutil.pid_exists(pids[0]) or psutil.Process(pids[0]).status() == psutil.STATUS_ZOMBIE


def test_a_lock_file_cut_short_by_a_kill_is_put_back(tmp_path: Path) -> None:
    root = mini_repository(tmp_path / "r", {"a": "echo 1 > out-a"})
    dvc(root, ["repro"])
    whole = (root / "dvc.lock").read_text()
    (root / "dvc.lock").write_text(whole[: len(whole) // 2].rstrip("\n") + "\n  : [")
    assert "Stage 'a' didn't change, skipping" in dvc(root, ["repro"]).lines
    assert (root / "dvc.lock").read_text() == whole


def test_without_a_copy_the_committed_lock_file_is_taken(tmp_path: Path) -> None:
    root = mini_repository(tmp_path / "r", {"a": "echo 1 > out-a"})
    (root / "dvc.lock").write_text("schem")
    assert not restore_lock_file(root)
    (root / "dvc.lock").write_text("schema: '2.0'\n")
    for command in ("git add --all", "git commit --quiet --message start"):
        assert os.system(f"cd {root} && {command}") == 0
    (root / "dvc.lock").write_text("schem")
    assert restore_lock_file(root)
    assert (root / "dvc.lock").read_text() == "schema: '2.0'\n"


def path_locks(root: Path) -> Path:
    """Return DVC's table of path locks."""
    return root / ".dvc" / "tmp" / "rwlock"


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """A repository whose DVC was killed while a stage ran."""
    root = mini_repository(tmp_path / "r", {"a": '"echo 1 > out-a; echo $PPID; kill -9 $PPID; sleep 100"'})
    with pytest.raises(ResourceError, match="got -9"):
        dvc(root, ["repro"])
    return root


def test_what_a_killed_run_locked_is_free_although_its_number_is_in_use_again(killed: Path) -> None:
    """In a container every run may get the same few numbers; once the machine was booted anew, any may be anyone's."""
    table = path_locks(killed)
    assert json.loads(table.read_text())["write"]
    for file in (table, killed / ".work" / "dvc.run.json"):
        (pid,) = set(re.findall(r'"pid": (\d+)', file.read_text()))
        file.write_text(file.read_text().replace(f'"pid": {pid}', f'"pid": {os.getpid()}'))
    clear_stale_locks(killed)
    assert json.loads(table.read_text()) == {"write": {}, "read": {}}


def test_what_a_dvc_on_another_machine_locked_stays_locked(killed: Path) -> None:
    """On a shared file system its number says nothing here: nobody has it, or somebody else."""
    table = path_locks(killed)
    ours = json.loads(table.read_text())
    theirs = {"pid": 2**22 + 1, "cmd": "/home/me/.venv/bin/dvc repro"}
    both = {
        "write": {**ours["write"], "/b": theirs},
        "read": {path: [*infos, theirs] for path, infos in ours["read"].items()},
    }
    table.write_text(json.dumps(both))
    clear_stale_locks(killed)
    assert json.loads(table.read_text()) == {"write": {"/b": theirs}, "read": {path: [theirs] for path in ours["read"]}}


def test_without_a_remembered_run_path_locks_stay(killed: Path) -> None:
    before = json.loads(path_locks(killed).read_text())
    for text in ("", "[]", '{"pid": "x", "cmd": ""}'):
        (killed / ".work" / "dvc.run.json").write_text(text)
        clear_stale_locks(killed)
        assert json.loads(path_locks(killed).read_text()) == before


@pytest.mark.parametrize("text", ["", '{"write": {"/a"', "[1]", '{"write": {"/a": 3}}'])
def test_path_locks_cut_short_by_a_kill_are_removed(tmp_path: Path, text: str) -> None:
    folder = tmp_path / ".dvc" / "tmp"
    folder.mkdir(parents=True)
    (folder / "rwlock").write_text(text)
    clear_stale_locks(tmp_path)
    assert not (folder / "rwlock").exists()


def test_path_locks_that_a_living_dvc_is_editing_are_left_alone(tmp_path: Path) -> None:
    import fcntl

    folder = tmp_path / ".dvc" / "tmp"
    folder.mkdir(parents=True)
    (folder / "rwlock").write_text("half")
    with (folder / "rwlock.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        clear_stale_locks(tmp_path)
    assert (folder / "rwlock").read_text() == "half"


@pytest.mark.parametrize("program", ["dvc", "git"])
def test_a_missing_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    other = {"dvc": "git", "git": "dvc"}[program]
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / other).symlink_to("/bin/true")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(ResourceError, match=f"the program {program} is needed, but is not on the path; .*install"):
        check_repository(tmp_path)


def test_a_folder_outside_git_or_without_dvc_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"must lie in a git repository, but does not; .*git init"):
        check_repository(tmp_path)
    (tmp_path / ".git").mkdir()
    with pytest.raises(ResourceError, match=r"must be a DVC repository, but has no folder \.dvc; .*dvc init"):
        check_repository(tmp_path)
