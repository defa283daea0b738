"""Stands in for a stage: ``python _client.py ADDRESS PYTHON -m pipeline.stages.STAGE EXPERIMENT``.

Has the stage server at an abstract Unix address run the stage in this process's folder, with its environment and
standard streams, and ends as the stage ends. Where no server answers, this process becomes the stage itself.
It loads little of the standard library and nothing else, which is what makes a stage start in a moment.
"""

import json
import os
import signal
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

LENGTH, STATUS = struct.Struct("!I"), struct.Struct("!i")
"""Of a request, before it; and how a stage ended, the negative of a signal where one ended it."""


def main() -> NoReturn:
    """Run the stage and end as it does."""
    address, python, *arguments = sys.argv[1:]
    server = socket.socket(socket.AF_UNIX)
    try:
        _hand_over(server, address, arguments)
    except OSError:  # there is no server, or it ended before it took the stage
        os.execv(python, [python, *arguments])
    try:
        (status,) = STATUS.unpack(_receive(server, STATUS.size))
    except OSError:  # the server was killed, and the kernel has killed the stage with it
        status = -signal.SIGKILL
    if status < 0:
        with suppress(OSError):  # of SIGKILL, nobody may change what it does
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)


def is_of_same_user(peer: socket.socket) -> bool:
    """Tell whether the process at the other end runs as this one's user: abstract addresses are open to everybody."""
    credentials = struct.Struct("iII")
    return (
        credentials.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size))[1] == os.getuid()
    )


def _hand_over(server: socket.socket, address: str, arguments: list[str]) -> None:
    server.connect(f"\0{address}")
    if not is_of_same_user(server):
        raise ConnectionRefusedError
    request = json.dumps([arguments[1], arguments[2:], str(Path.cwd()), dict(os.environ)]).encode()
    socket.send_fds(server, [LENGTH.pack(len(request))], [0, 1, 2])
    server.sendall(request)
    _receive(server, 1)


def _receive(server: socket.socket, n_bytes: int) -> bytes:
    received = b""
    while len(received) < n_bytes:
        chunk = server.recv(n_bytes - len(received))
        if not chunk:
            raise ConnectionResetError
        received += chunk
    return received


if __name__ == "__main__":
    main()
