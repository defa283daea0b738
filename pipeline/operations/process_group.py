"""A command whose processes all end together."""

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Event
from types import TracebackType

import psutil

from pipeline.core.text import printable

_POLL_SECONDS = 0.2
_GRACE_SECONDS = 5.0


class ProcessGroup:
    """A command in a session of its own; leaving the context ends whatever of it still runs, children included."""

    def __init__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], pass_fds: Sequence[int] = ()
    ) -> None:
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=pass_fds,
        )

    def __enter__(self) -> "ProcessGroup":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def pid(self) -> int:
        """Of the command itself."""
        return self._process.pid

    def stream(self, on_line: Callable[[str], None], cancel: Event | None = None) -> int:
        """Pass on every line of output, printable, until the command has ended, and return its exit status.

        A line also ends at a carriage return, so that a progress bar cannot grow into one endless line.

        Args:
            on_line: called with each line, without its end.
            cancel: when set, the group is ended.
        """
        assert self._process.stdout is not None
        pending = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while True:
                if cancel is not None and cancel.is_set():
                    self.end()
                # The exit is looked up before the pipe: what was written before it can then still be read.
                ended = self._process.poll() is not None
                chunk = b""
                if selector.select(0 if ended else _POLL_SECONDS):
                    chunk = os.read(self._process.stdout.fileno(), 65536)
                    if not chunk:
                        break
                elif ended:
                    break  # a grandchild may hold the pipe open for ever
                *lines, pending = (pending + chunk.replace(b"\r", b"\n")).split(b"\n")
                for line in lines:
                    if line.strip():
                        on_line(_text(line))
        if pending.strip():
            on_line(_text(pending))
        return self._process.wait()

    def end(self) -> None:
        """End all processes of the group: by SIGTERM, after some seconds by SIGKILL."""
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_SECONDS
        while self._is_alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _is_alive(self) -> bool:
        return self._process.poll() is None or (self._signal(0) and any(map(self._is_member, psutil.process_iter())))

    def _is_member(self, process: psutil.Process) -> bool:
        """Tell whether a process of the group still runs; a zombie does not.

        In a container, process 1 often reaps orphans late, or never.
        """
        try:
            return os.getpgid(process.pid) == self._process.pid and process.status() != psutil.STATUS_ZOMBIE
        except (ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            return False

    def _signal(self, number: int) -> bool:
        """Send a signal to the group and tell whether there was anyone to get it."""
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of zombies
            return False
        return True


def _text(line: bytes) -> str:
    return printable(line.decode("utf-8", "replace").rstrip())
