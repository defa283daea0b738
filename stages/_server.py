"""A process that loads what stages need and forks another for each of them, for as long as one rebuild runs.

Torch and what else a stage loads take longer than most stages of a small experiment take for their work. Here it is
loaded once, and what the next stage needs while the one before it runs. Nothing is computed in the server, so that a
fork finds no thread pools of torch and no CUDA context. ``_client.py`` is the other side;
:func:`pipeline.operations.stage_server.stage_server` starts both.
"""

import ctypes
import json
import os
import selectors
import signal
import socket
import struct
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from typing import Any

from pipeline.core.supervision import supervisor_runs
from pipeline.stages._client import LENGTH, STATUS, is_of_same_user
from pipeline.stages._entry import stage_main

_SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_OF_A_REQUEST = 10.0
_SIGNALS = (signal.SIGTERM, signal.SIGCHLD)
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LIBC = ctypes.CDLL(None)


@dataclass(frozen=True)
class _Request:
    """What a client asks for: a stage's module and arguments, and the surroundings of its process."""

    module: str
    arguments: list[str]
    folder: str
    environment: dict[str, str]
    descriptors: tuple[int, ...]


class _Server:
    def __init__(self, listener: socket.socket, modules: Sequence[str]) -> None:
        self._listener, self._next = listener, dict(pairwise(modules))
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._clients: dict[int, socket.socket] = {}  # by the stage's process
        self._is_ending = False

    def serve(self) -> _Request | None:
        """Return in every forked process, with what it must run; in the server at its end, with None."""
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGCHLD, self._report)
        while self._clients or not self._is_ending:
            if not self._clients and not supervisor_runs():
                break  # a stage that runs ends the group, this process included
            for key, _ in self._selector.select(_SECONDS_BETWEEN_LOOKS):
                waiting: Any = key.fileobj
                if key.data is not None:
                    self._abandon(waiting, key.data)
                elif (request := self._take(waiting.accept()[0])) is not None:
                    return request
        return None

    def _take(self, client: socket.socket) -> _Request | None:
        """Fork for a client; return what it asks for in the new process, None in the server."""
        client.settimeout(_SECONDS_OF_A_REQUEST)
        with suppress(OSError, ValueError, struct.error):  # the client has ended
            if not is_of_same_user(client):
                client.close()
                return None
            request = _receive(client)
            _load(request.module)
            server = os.getpid()
            signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
            try:
                pid = os.fork()
            except OSError:  # the client becomes the stage itself
                signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
                raise
            if pid == 0:
                client.close()
                self._leave()
                _end_with(server)
                return request
            self._clients[pid] = client
            self._selector.register(client, selectors.EVENT_READ, pid)
            with suppress(OSError):  # where the client has ended, the selector says so
                client.sendall(b"+")
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            for descriptor in request.descriptors:
                os.close(descriptor)
            _load(self._next.get(request.module))
        return None

    def _end(self, _signal: int, _frame: Any) -> None:
        """Let running stages end, which have got the signal too and tidy up."""
        self._is_ending = True
        if not self._clients:
            os._exit(0)  # at once: it may be loading something

    def _report(self, _signal: int, _frame: Any) -> None:
        """Tell clients whose stage has ended how it has: as a signal's handler, at once while something is loaded."""
        for pid in list(self._clients):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                client = self._clients.pop(pid)
                with suppress(KeyError):  # it has ended, too
                    self._selector.unregister(client)
                with client, suppress(OSError):
                    client.sendall(STATUS.pack(os.waitstatus_to_exitcode(status)))

    def _abandon(self, client: socket.socket, pid: int) -> None:
        """End a stage whose client has ended."""
        if self._clients.get(pid) is client:  # else it has just been told
            self._selector.unregister(client)
            os.kill(pid, signal.SIGTERM)

    def _leave(self) -> None:
        """Close in a forked process what is the server's: clients see by it that the server has ended."""
        self._selector.close()
        for one in (self._listener, *self._clients.values()):
            one.close()


def _receive(client: socket.socket) -> _Request:
    head, descriptors, *_ = socket.recv_fds(client, LENGTH.size, 3)
    with client.makefile("rb") as stream:
        module, arguments, folder, environment = json.loads(stream.read(*LENGTH.unpack(head)))
        return _Request(module, arguments, folder, environment, tuple(descriptors))


def _load(module: str | None) -> None:
    if module is not None:
        with suppress(Exception):  # the stage fails by it again, and says so
            import_module(module)


def _end_with(server: int) -> None:
    """Have the kernel end this process with the server, however that ends."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server:
        os._exit(1)


def _run(request: _Request) -> None:
    """Become the process that ``python -m`` would have started."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    for number, descriptor in enumerate(request.descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    stage: Any = import_module(request.module)
    sys.argv = [stage.__file__, *request.arguments]
    stage_main(stage.run, stage.SECTIONS)


if __name__ == "__main__":
    # Python 3.12 and later warn of threads; those here are of numpy's libraries, which keep them safe themselves.
    warnings.filterwarnings("ignore", r"This process \(pid=\d+\) is multi-threaded", DeprecationWarning)
    with socket.socket(fileno=int(sys.argv[1])) as _listener:
        _request = _Server(_listener, sys.argv[2:]).serve()
    if _request is not None:
        _run(_request)
