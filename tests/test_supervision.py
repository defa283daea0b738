"""Who ends with whom, whatever the wall clock does meanwhile."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline.core import supervision
from pipeline.core.supervision import end_with_supervisor, start_of, supervised
from pipeline.operations.dvc import run_dvc
from pipeline.operations.locks import repository_lock
from tests.operations.mini import mini_repository
from tests.repository import PROJECT

# What a step of the clock does to every reader of the time of boot, in one process: the machine's own clock stays.
STEPPED = """
import psutil
from pathlib import Path
real = psutil._pslinux.boot_time
psutil._pslinux.boot_time = lambda: real() + float(Path({file!r}).read_text())
"""

STAGE = """
import time
from pipeline.stages._entry import end_with_supervisor
end_with_supervisor()
for word in ("early", "late", "done"):
    print("it is", word, flush=True)
    time.sleep(1.3)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only there does psutil read the time of boot from a file")
def test_steps_of_the_clock_end_no_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For example when a machine that booted with a wrong clock hears of the right time."""
    steps = {"it is early": "7200", "it is late": "-7200"}
    step = tmp_path / "step"
    step.write_text("0")
    (tmp_path / "sitecustomize.py").write_text(STEPPED.format(file=str(step)))
    (tmp_path / "stage.py").write_text(STAGE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(PROJECT)]))
    root = mini_repository(tmp_path / "r", {"a": f"{sys.executable} {tmp_path / 'stage.py'} && echo 1 > out-a"})

    def see(line: str) -> None:
        if line in steps:
            step.write_text(steps[line])

    with repository_lock(root, "test") as held:
        assert "it is done" in run_dvc(root, ["repro"], held, see).lines


def test_the_start_of_a_process_is_the_same_at_every_look_and_none_for_the_dead() -> None:
    with subprocess.Popen(["sleep", "100"]) as process:
        start = start_of(process.pid)
        assert start is not None
        assert start_of(process.pid) == start
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert start_of(process.pid) is None  # dead, and not yet buried
    assert start_of(process.pid) is None


def test_a_program_may_have_any_name(tmp_path: Path) -> None:
    program = tmp_path / "a) b (c"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "100"]) as process:
        assert (start_of(process.pid) or "").isdigit() or sys.platform != "linux"
        process.kill()


def test_where_the_kernel_shows_no_files_of_processes_ps_tells_their_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "_PROC", tmp_path)
    with subprocess.Popen(["sleep", "100"]) as process:
        start = start_of(process.pid)
        assert start is not None
        assert time.strptime(start).tm_year > 2000
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert start_of(process.pid) is None
    assert start_of(process.pid) is None


CHILD = """
import time
from pipeline.core.supervision import end_with_supervisor

end_with_supervisor()
print(1, flush=True)
time.sleep(60)
"""


def test_a_child_ends_although_its_supervisors_number_is_in_use_again(tmp_path: Path) -> None:
    pid, _, start = supervised()["FACETS_SUPERVISOR"].partition(" ")
    environment = {**os.environ, "FACETS_SUPERVISOR": f"{pid} {start}0"}
    with subprocess.Popen([sys.executable, "-c", CHILD], cwd=PROJECT, env=environment, start_new_session=True) as child:
        assert child.wait(20) == -15


def test_without_a_supervisor_nothing_is_watched() -> None:
    end_with_supervisor()
    assert "supervisor-watch" not in [thread.name for thread in threading.enumerate()]
