"""Processes that end with their supervisor, and how a process is told from a later one with the same id."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

_SUPERVISOR = "FACETS_SUPERVISOR"
_SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_TO_END = 10.0
_PROC = Path("/proc")


def supervised() -> dict[str, str]:
    """Return what the environment of a child must hold for :func:`end_with_supervisor` to end it with this process."""
    return {_SUPERVISOR: f"{os.getpid()} {start_of(os.getpid())}"}


def end_with_supervisor() -> None:
    """End this process's group soon after its supervisor has died, however it died.

    Without this, a killed ``facets rebuild`` would leave DVC and a training running. The end of file of a pipe cannot
    say the same: DVC and Prefect close unknown descriptors in their children.
    """
    if _SUPERVISOR in os.environ:
        threading.Thread(target=_watch, name="supervisor-watch", daemon=True).start()


def supervisor_runs() -> bool:
    """Tell whether this process's supervisor still runs; one without any counts as supervised."""
    pid, _, start = os.environ.get(_SUPERVISOR, "").partition(" ")
    return not pid or start_of(int(pid)) == start


def start_of(pid: int) -> str | None:
    """Return when a process started, as text that does not depend on the wall clock; None if it does not run.

    A zombie, dead but not yet reaped by its parent, does not run.
    """
    if (_PROC / "self" / "stat").exists():
        try:
            # The name of the program comes second, in parentheses, and may hold anything, parentheses included.
            fields = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        state, start = fields[0], fields[19]  # in ticks of the kernel since the machine booted
    else:
        # As the kernel noted it when the process began. psutil moves it along with the clock here.
        shown = subprocess.run(
            ["ps", "-o", "state=,lstart=", "-p", str(pid)],
            env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
            capture_output=True,
            text=True,
            check=False,
        )
        state, _, start = shown.stdout.strip().partition(" ")
    return start.strip() if state[:1] not in ("", "Z", "X") else None


def _watch() -> None:
    while supervisor_runs():
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    group = os.getpgrp()
    os.killpg(group, signal.SIGTERM)
    time.sleep(_SECONDS_TO_END)
    os.killpg(group, signal.SIGKILL)
