"""Stages forked from a server behave as processes of their own do: streams, surroundings, ends, and who ends whom."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.core.errors import DataError
from pipeline.operations import stage_server as module
from pipeline.operations.stage_server import stage_server
from pipeline.stages import _client

TOY = """
import json, os, signal, sys, time
from pathlib import Path
from pipeline.core.errors import DataError
from pipeline.stages._entry import stage_main

SECTIONS = ()

def run(layout, params):
    what = os.environ["TOY"]
    if what == "tell":
        print(json.dumps([sys.argv[1:], str(Path.cwd()), os.environ["TOY_ODD"], sys.stdin.read(), os.getppid()]))
        print("a word", file=sys.stderr)
    elif what == "refuse":
        raise DataError("it is no good")
    elif what == "fault":
        raise RuntimeError("unforeseen")
    elif what == "die":
        os.kill(os.getpid(), signal.SIGSEGV)
    else:
        Path("pid").write_text(str(os.getpid()))
        try:
            time.sleep(120)
        finally:
            Path("tidied").touch()

if __name__ == "__main__":
    stage_main(run, SECTIONS)
"""
ODD = "n\udcffo UTF-8\nand a line"  # such as a file's name may be


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "toy_stage.py").write_text(TOY)
    (tmp_path / "dvc.yaml").write_text("stages: {toy: {cmd: none}}\n")
    (tmp_path / ".dvc").mkdir()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("TOY_ODD", ODD)
    return tmp_path


@pytest.fixture
def python(root: Path) -> Iterator[str]:
    with stage_server(root) as program:
        yield program


def start(python: str, root: Path, what: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [python, "-m", "toy_stage", "mine"],
        cwd=root,
        env={**os.environ, "TOY": what, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def server_of(process: psutil.Process) -> psutil.Process:
    parent = process.parent()
    assert parent is not None
    assert "pipeline.stages._server" in parent.cmdline()
    return parent


def sleeping(root: Path) -> psutil.Process:
    deadline = time.monotonic() + 60
    while not (root / "pid").exists() or not (root / "pid").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return psutil.Process(int((root / "pid").read_text()))


def test_a_stage_has_the_surroundings_of_its_client(python: str, root: Path) -> None:
    process = start(python, root, "tell")
    out, errors = process.communicate("what is read")
    arguments, folder, odd, read, parent = json.loads(out)
    assert (arguments, folder, odd, read) == (["mine"], str(root), ODD, "what is read")
    assert (process.returncode, errors) == (0, "a word\n")
    assert "pipeline.stages._server" in psutil.Process(parent).cmdline()


def test_one_after_the_other_has_its_own(python: str, root: Path) -> None:
    told = [start(python, root, "tell").communicate(words)[0] for words in ("one", "two")]
    assert [json.loads(line)[3] for line in told] == ["one", "two"]


def test_a_refusal_is_its_line_and_its_exit_code(python: str, root: Path) -> None:
    process = start(python, root, "refuse")
    assert process.communicate()[1] == "toy_stage: it is no good\n"
    assert process.returncode == DataError.exit_code


def test_a_fault_keeps_its_traceback(python: str, root: Path) -> None:
    process = start(python, root, "fault")
    assert process.communicate()[1].endswith("RuntimeError: unforeseen\n")
    assert process.returncode == 1


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_of_a_stage_that_a_signal_ends_the_client_dies_of_the_same(
    python: str, root: Path, number: signal.Signals
) -> None:
    process = start(python, root, "die" if number is signal.SIGSEGV else "sleep")
    if number is signal.SIGKILL:
        sleeping(root).send_signal(number)
    process.communicate()
    assert process.returncode == -number


def test_a_stage_whose_client_is_killed_tidies_up_and_ends(python: str, root: Path) -> None:
    process = start(python, root, "sleep")
    stage = sleeping(root)
    process.kill()
    process.communicate()
    stage.wait(30)
    assert (root / "tidied").exists()
    assert start(python, root, "tell").communicate("")[0]


def test_a_stage_and_its_client_end_with_a_killed_server_and_the_next_is_a_process_of_its_own(
    python: str, root: Path
) -> None:
    process = start(python, root, "sleep")
    stage = sleeping(root)
    server_of(stage).kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    stage.wait(30)
    out, _ = (alone := start(python, root, "tell")).communicate("")
    assert json.loads(out)[4] == os.getpid()
    assert alone.returncode == 0


def test_leaving_ends_the_server_and_what_runs(root: Path) -> None:
    with stage_server(root) as python:
        process = start(python, root, "sleep")
        stage = sleeping(root)
        server = server_of(stage)
    assert not stage.is_running()
    assert not server.is_running()
    assert (root / "tidied").exists()
    process.communicate()
    assert process.returncode != 0


def test_a_server_ends_with_a_killed_supervisor(root: Path) -> None:
    script = (
        "import json, time; from pathlib import Path; from pipeline.core.supervision import supervised\n"
        "from pipeline.operations.stage_server import stage_server\n"
        "with stage_server(Path.cwd()) as python:\n"
        "    print(json.dumps([python, supervised()]), flush=True); time.sleep(120)"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=root, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        python, environment = json.loads(supervisor.stdout.readline())
        process = start(python, root, "sleep", **environment)
        stage = sleeping(root)
        server = server_of(stage)
        supervisor.kill()
    process.communicate(timeout=30)
    stage.wait(30)
    server.wait(30)


def test_other_users_are_not_served(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert _client.is_of_same_user(ours)
        monkeypatch.setattr(os, "getuid", lambda: -1)
        assert not _client.is_of_same_user(ours)


def test_where_programs_may_not_run_or_a_fork_is_not_safe_stages_are_processes_of_their_own(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_: False)  # as on a file system mounted noexec
        with stage_server(root) as python:
            assert python == sys.executable
    monkeypatch.setattr(module.sys, "platform", "darwin")
    with stage_server(root) as python:
        assert python == sys.executable
