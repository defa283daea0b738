"""Running ``facets`` inside the test's own process: no second interpreter to start, same code."""

import signal
import sys
from dataclasses import dataclass

import pytest

from pipeline.cli import main


@dataclass(frozen=True)
class Call:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Facets:
    """Calls the command line in the current folder."""

    patch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> Call:
        """Run ``facets`` with some arguments."""
        self.patch.setattr(sys, "argv", ["facets", *arguments])
        self.capture.readouterr()
        handler = signal.getsignal(signal.SIGTERM)
        try:
            main()
        except SystemExit as end:
            code = 0 if end.code is None else end.code
        finally:
            signal.signal(signal.SIGTERM, handler)
        assert isinstance(code, int)
        captured = self.capture.readouterr()
        return Call(code, captured.out, captured.err)
