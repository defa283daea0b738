"""Progress for people: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from tqdm import tqdm

from pipeline.core.text import printable

_SECONDS_BETWEEN_LINES = 10.0


@runtime_checkable
class Progress(Protocol):
    """Something that counts finished units of work."""

    def advance(self, n: int = 1, note: str = "") -> None:
        """Count ``n`` more units as done; ``note`` is shown behind the count."""


@contextmanager
def progress(description: str, total: int, unit: str = "image") -> Iterator[Progress]:
    """Show how far a long piece of work has come, on standard error.

    Args:
        description: what is being done, e.g. ``"train digits seed 0"``.
        total: units of work in all.
        unit: what one unit is.
    """
    description = printable(description)
    if sys.stderr.isatty():
        with tqdm(total=total, desc=description, unit=f" {unit}", dynamic_ncols=True, leave=False) as bar:
            yield _Bar(bar)
    else:
        yield _Lines(description, total, unit)


@contextmanager
def silence() -> Iterator[Progress]:
    """Count work without showing it."""
    yield _Silence()


def tell(line: str) -> None:
    """Print a line about work on standard error; bars that are shown stay below it."""
    tqdm.write(printable(line), file=sys.stderr)


class _Silence:
    def advance(self, n: int = 1, note: str = "") -> None:
        pass


class _Bar:
    def __init__(self, bar: tqdm) -> None:
        self._bar = bar

    def advance(self, n: int = 1, note: str = "") -> None:
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(n)


class _Lines:
    def __init__(self, description: str, total: int, unit: str) -> None:
        self._description, self._total, self._unit = description, total, unit
        self._done = 0
        self._start = self._last = time.monotonic()

    def advance(self, n: int = 1, note: str = "") -> None:
        self._done += n
        now = time.monotonic()
        if self._done < self._total and now - self._last < _SECONDS_BETWEEN_LINES:
            return
        self._last = now
        tail = f" · {note}" if note else ""
        if 0 < self._done < self._total:
            seconds = (now - self._start) * (self._total - self._done) / self._done
            tail = f" · {seconds:.0f} s left{tail}" if seconds < 90 else f" · {seconds / 60:.0f} min left{tail}"
        print(f"{self._description}: {self._done}/{self._total} {self._unit}s{tail}", file=sys.stderr, flush=True)
