import os
import signal
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from pipeline.operations import process_group
from pipeline.operations.process_group import ProcessGroup


def run(script: str, folder: Path, cancel: threading.Event | None = None) -> tuple[int, list[str]]:
    lines: list[str] = []
    with ProcessGroup(["/bin/sh", "-c", script], folder, os.environ) as group:
        return group.stream(lines.append, cancel), lines


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_lines_of_both_outputs_arrive_in_order_with_the_exit_status(tmp_path: Path) -> None:
    code, lines = run("echo one; echo two >&2; printf 'a\\rb\\n\\n'; printf last; exit 3", tmp_path)
    assert (code, lines) == (3, ["one", "two", "a", "b", "last"])


def test_lines_arrive_while_the_command_runs(tmp_path: Path) -> None:
    seen: list[float] = []
    start = time.monotonic()
    with ProcessGroup(["/bin/sh", "-c", "echo first; sleep 1.5; echo second"], tmp_path, os.environ) as group:
        group.stream(lambda _: seen.append(time.monotonic() - start))
    assert seen[0] < 1.2 < seen[1]


def test_leaving_the_context_ends_children_and_grandchildren(tmp_path: Path) -> None:
    pids: list[int] = []

    def interrupt(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    def run() -> None:
        with ProcessGroup(["/bin/sh", "-c", CHILD], tmp_path, os.environ) as group:
            group.stream(interrupt)

    with pytest.raises(KeyboardInterrupt):
        run()
    assert is_gone(pids[0])


CHILD = "sleep 100 & echo $!; wait"


def test_cancelling_from_another_thread_ends_the_group(tmp_path: Path) -> None:
    cancel = threading.Event()
    timer = threading.Timer(0.3, cancel.set)
    timer.start()
    start = time.monotonic()
    code, lines = run(CHILD, tmp_path, cancel)
    assert code == -15
    assert time.monotonic() - start < 4
    assert is_gone(int(lines[0]))
    timer.join()


def test_a_process_deaf_to_politeness_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_group, "_GRACE_SECONDS", 0.3)
    script = "trap '' TERM; echo $$; while true; do sleep 0.1; done"
    cancel = threading.Event()
    cancel.set()
    with ProcessGroup(["/bin/sh", "-c", script], tmp_path, os.environ) as group:
        time.sleep(0.3)
        assert group.stream(lambda _: None, cancel) == -9


def test_a_polite_grandchild_has_time_to_clean_up(tmp_path: Path) -> None:
    inner = "trap 'sleep 0.5; touch cleaned; exit 0' TERM; echo ready; while true; do sleep 0.1; done"
    with ProcessGroup(["/bin/sh", "-c", f'/bin/sh -c "{inner}" & wait'], tmp_path, os.environ) as group:
        cancel = threading.Event()
        group.stream(lambda _: cancel.set(), cancel)
    assert (tmp_path / "cleaned").exists()


def test_a_grandchild_that_keeps_the_pipe_open_does_not_hold_up_the_end(tmp_path: Path) -> None:
    start = time.monotonic()
    code, lines = run("sleep 30 & echo $!", tmp_path)
    assert code == 0
    assert time.monotonic() - start < 10
    assert is_gone(int(lines[0]))


ZOMBIE = """
import os, time
leader, (ready, tell) = os.getpid(), os.pipe()
keeper = os.fork()
if not keeper:
    os.setpgid(0, 0)
    if not os.fork():
        os.setpgid(0, leader)
        os._exit(0)
    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
    os.write(tell, b"x")
    time.sleep(60)
    os._exit(0)
os.read(ready, 1)
print(keeper)
"""


def test_what_is_dead_but_not_buried_is_not_waited_for(tmp_path: Path) -> None:
    lines: list[str] = []
    start = time.monotonic()
    with ProcessGroup([sys.executable, "-c", ZOMBIE], tmp_path, os.environ) as group:
        assert group.stream(lines.append) == 0
    took = time.monotonic() - start
    os.kill(int(lines[0]), signal.SIGKILL)
    assert took < process_group._GRACE_SECONDS
