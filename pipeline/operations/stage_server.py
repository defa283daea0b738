"""Stages that start in a moment: DVC starts a small program for each, behind which a stage server forks them.

What that gains is measured by ``python -m benchmarks.repository``. The DAG and its commands know nothing of it: only
the Python that they are told to use is another one, and where no server answers it is the usual one again.
"""

import os
import secrets
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.config.dag import stage_names
from pipeline.operations.dvc import dvc_environment
from pipeline.operations.process_group import ProcessGroup

_CLIENT = Path(__file__).parents[1] / "stages" / "_client.py"


@contextmanager
def stage_server(root: Path) -> Iterator[str]:
    """Run a stage server, and at last end it with what of its stages still runs.

    Args:
        root: the repository, whose lock is held.

    Yields:
        The program to start stages by; it is called as a Python would be.
    """
    if sys.platform != "linux":  # to fork after loading libraries is not safe on macOS
        yield sys.executable
        return
    address = f"facets-{secrets.token_hex(16)}"  # abstract, so that nothing is left where this process is killed
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{address}")
        listener.listen()
        number = listener.fileno()
        modules = [f"pipeline.stages.{stage}" for stage in stage_names(root)]
        command = [sys.executable, "-m", "pipeline.stages._server", str(number), *modules]
        server = ProcessGroup(command, root, dvc_environment(root), pass_fds=(number,))
    with server:
        program = _write_program(root.resolve(), address)
        # A file system may forbid to run programs that lie on it.
        yield str(program) if os.access(program, os.X_OK) else sys.executable


def _write_program(root: Path, address: str) -> Path:
    words = [sys.executable, "-I", "-S", str(_CLIENT), address, sys.executable]
    program = root / ".work" / "stages" / "python"
    program.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', encoding="utf-8")
    program.chmod(0o700)
    return program
