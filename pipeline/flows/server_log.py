"""The Prefect server's log: written within bounds, and read for faults of its background services.

Those show nowhere else. The services plan runs, mark late ones, forget old ones, record tasks. One that dies in an
exception is started again and dies again; the server answers all the while.
"""

import logging
import os
import re
from contextlib import suppress
from dataclasses import dataclass, field
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

from pipeline.flows.access import open_private

_RECORD = re.compile(r"\d\d:\d\d:\d\d\.\d+ \| (\w+) *\| (\S+) - (.*)")
_SERVICES = ("docket", "prefect.server.services", "prefect.server.events", "prefect.server.utilities.messaging")
_CALL = re.compile(r"\] (\w+)\(")
_RAISED = re.compile(r"[\w.]+(Error|Exception|Exit|Interrupt|Timeout|Refused)\b.*")

# What a busy database answers once in a while; the next round succeeds.
_PASSES = "database is locked"
_TIMES = 3

_REMEMBERED_SECONDS = 900.0
"""For how long after its last exception a service counts as faulty."""

_LARGEST_FILE = 4 * 2**20
_N_EARLIER = 3
_MOST_BYTES = 2**20  # of one look; a log that grows faster says the same again and again


class LogWriter(RotatingFileHandler):
    """Writes lines into a log that only its owner may read; a start, and a certain size, begin another file.

    Some earlier files stay beside it: ``.1`` is the last one.

    Args:
        path: of the log.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=_LARGEST_FILE, backupCount=_N_EARLIER, encoding="utf-8")
        if path.stat().st_size:
            self.doRollover()

    def write(self, line: str) -> None:
        """Append a line, on the disk at once.

        Raises:
            OSError: the disk is full.
        """
        self.emit(logging.makeLogRecord({"msg": line}))

    def handleError(self, record: logging.LogRecord) -> None:
        """Let what :meth:`emit` ran into end the call; by default it would be printed."""
        raise

    def _open(self) -> TextIOWrapper:
        return open_private(Path(self.baseFilename))


@dataclass
class _Fault:
    reason: str
    at: float
    n_times: int


@dataclass
class ServerLog:
    """Follows the log of an embedded server from its end at the start.

    Attributes:
        path: the file; it need not exist yet.
    """

    path: Path
    _offset: int = 0
    _inode: int = 0
    _rest: str = ""
    _last: str | None = None
    _faults: dict[str, _Fault] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.path.exists():
            stat = self.path.stat()
            self._offset, self._inode = stat.st_size, stat.st_ino

    def faults(self, now: float) -> dict[str, str]:
        """Read what is new and return the services that fail: name to reason.

        Args:
            now: seconds on a clock that never jumps.
        """
        for line in self._new_lines():
            self._take(line, now)
        self._faults = {name: fault for name, fault in self._faults.items() if now - fault.at < _REMEMBERED_SECONDS}
        return {
            name: fault.reason
            for name, fault in self._faults.items()
            if _PASSES not in fault.reason or fault.n_times >= _TIMES
        }

    def _new_lines(self) -> list[str]:
        try:
            with self.path.open("rb") as file:
                stat = os.fstat(file.fileno())
                new = b""
                if stat.st_ino != self._inode:
                    new = self._end_of_last_file()
                    self._offset, self._inode = 0, stat.st_ino
                elif stat.st_size < self._offset:
                    self._offset, self._rest = 0, ""
                file.seek(max(self._offset, stat.st_size - _MOST_BYTES))
                new += file.read()
                self._offset = file.tell()
        except FileNotFoundError:
            return []
        *lines, self._rest = (self._rest + new.decode(errors="replace")).split("\n")
        return lines

    def _end_of_last_file(self) -> bytes:
        """Return what was written after the last look into the file that :class:`LogWriter` has put aside since."""
        with suppress(FileNotFoundError), Path(f"{self.path}.1").open("rb") as file:
            stat = os.fstat(file.fileno())
            if stat.st_ino == self._inode:
                file.seek(max(self._offset, stat.st_size - _MOST_BYTES))
                return file.read()
        self._rest = ""
        return b""

    def _take(self, line: str, now: float) -> None:
        """Take one line: the head of a record, or, below it, the exception that it tells of."""
        if record := _RECORD.match(line):
            level, logger, message = record.groups()
            self._last = None
            if level in ("ERROR", "CRITICAL") and logger.startswith(_SERVICES):
                call = _CALL.search(message)
                name = self._last = call[1] if call else logger
                known = self._faults.get(name)
                self._faults[name] = _Fault(message, now, known.n_times + 1 if known else 1)
        elif self._last is not None and _RAISED.fullmatch(line):
            self._faults[self._last].reason = line[:500]
