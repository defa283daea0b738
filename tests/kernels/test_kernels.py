"""The kernels without a GPU."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

CASES = Path(__file__).parent / "cases.py"


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton has no package for this platform")
def test_every_kernel_does_what_it_stands_for_when_interpreted():
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, f"--rootdir={CASES.parents[2]}"]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", str(CASES)],
        cwd=CASES.parents[2],
        env={**os.environ, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
