"""Running ``facets`` commands from flows: a process group of their own, lines streamed and tailed."""

import json
import os
import re
import sys
import time
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from prefect.logging import get_run_logger

from pipeline.core.errors import PipelineError, ResourceError
from pipeline.core.supervision import supervised
from pipeline.core.text import counted
from pipeline.operations.process_group import ProcessGroup

TAIL_LINES = 50

_SECONDS_BETWEEN_LINES = 0.5
_MAX_BYTES = 4 * 2**20
_COMMAND = "from pipeline.core.supervision import end_with_supervisor as e; e(); from pipeline.cli import main; main()"


class CommandCrashed(ResourceError):
    """A command was killed, or ended with a traceback."""


class LineLog:
    """Keeps every line in a file, the last ones for messages, and passes some on to Prefect.

    Progress prints much; Prefect stores every record in a database. So lines that follow each other closely stay out of
    Prefect, and how many they were is said with the next one. The file holds the runs of some time, each below its own
    heading.

    Args:
        root: the repository; the file lies in ``.work/logs``.
        name: of the file.
    """

    def __init__(self, root: Path, name: str) -> None:
        self.path = root / ".work" / "logs" / f"flow-{re.sub('[^a-z0-9_-]', '-', name.lower())}.log"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists() and self.path.stat().st_size > _MAX_BYTES:
            self.path.replace(self.path.with_suffix(".log.1"))
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"--- {datetime.now().astimezone().isoformat(' ', 'seconds')}, pid {os.getpid()}\n")
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._logger = get_run_logger()
        self._last = 0.0
        self._n_silent = 0

    def __call__(self, line: str) -> None:
        """Take one line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        self.tail.append(line)
        now = time.monotonic()
        if now - self._last < _SECONDS_BETWEEN_LINES:
            self._n_silent += 1
            return
        more = f" ({counted(self._n_silent, 'line')} more in {self.path.name})" if self._n_silent else ""
        self._logger.info("%s%s", line[:1000], more)
        self._last, self._n_silent = now, 0


def run_facets(root: Path, arguments: Sequence[str], log: LineLog) -> Any:
    """Run ``facets ARGUMENTS --json`` to its end and return its result; leaving by any exception ends it.

    Raises:
        PipelineError: the command failed deliberately; of the same class, with its message.
        CommandCrashed: the message repeats its last lines.
        ResourceError: it did its work, but did not say what.
    """
    environment = {**os.environ, **supervised(), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-c", _COMMAND, *arguments, "--json"]
    with ProcessGroup(command, root, environment) as group:
        code = group.stream(log)
    if code:
        raise _failure(arguments, code, log)
    for line in reversed(log.tail):
        if line.startswith(("{", "[")):
            return json.loads(line)
    raise ResourceError(f"facets {' '.join(arguments)} must print JSON, got {list(log.tail)[-3:]}; run it by hand")


def _failure(arguments: Sequence[str], code: int, log: LineLog) -> PipelineError:
    own = next((line for line in reversed(log.tail) if line.startswith("facets: ")), None)
    kind = next((kind for kind in PipelineError.__subclasses__() if kind.exit_code == code), None)
    if own and kind:
        return kind(own.removeprefix("facets: "))
    return CommandCrashed(
        f"facets {' '.join(arguments)} must end with exit code 0, got {code}; its last lines follow, all of them are "
        f"in {log.path}",
        *log.tail,
    )
