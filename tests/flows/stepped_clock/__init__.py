"""A wall clock that a test can move for a service and all its processes, as one moves that of a machine."""

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

_HERE = Path(__file__).parent


class SteppedClock:
    """The clock; :attr:`environment` makes a process and its children live by it.

    Args:
        folder: gets the library that is preloaded, and the file that says how far the clock is off.
    """

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("moving the clock of other processes needs a C compiler: apt-get install gcc libc6-dev")
        library = folder / "stepped_clock.so"
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-O2", "-o", library, _HERE / "stepped_clock.c", "-ldl"], check=True
        )
        self._step = folder / "step"
        self._step.write_bytes(bytes(8))
        self.environment = {
            "LD_PRELOAD": str(library),
            "STEPPED_CLOCK": str(self._step),
            "PYTHONPATH": str(_HERE),
        }

    def step(self, seconds: float) -> None:
        """Set the clock this far off, measured from the true time; negative is into the past."""
        with self._step.open("r+b") as file:
            file.write(struct.pack("=q", round(seconds * 1e9)))
