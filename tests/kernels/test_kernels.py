"""The kernels without a GPU, and what happens where they do not work."""

import logging
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from pipeline import kernels

CASES = Path(__file__).parent / "cases.py"

needs_triton = pytest.mark.skipif(
    find_spec("triton") is None, reason="no Triton, which has no package for this platform: run them on Linux"
)


@needs_triton
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


@pytest.fixture
def unasked():
    """Forget what was found out about this machine, before and after."""
    kernels._work.cache_clear()
    yield
    kernels._work.cache_clear()


def test_without_triton_plain_operations_remain(unasked, monkeypatch, caplog):
    monkeypatch.setattr(kernels, "find_spec", lambda _: None)
    with caplog.at_level(logging.WARNING):
        assert not kernels._work()
    assert "half as fast on this GPU: Triton is not installed" in caplog.text


@needs_triton
def test_without_a_compiler_plain_operations_remain_and_the_log_says_why(unasked, monkeypatch, caplog):
    def fail():
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr("pipeline.kernels.trial.try_kernel", fail)
    with caplog.at_level(logging.WARNING):
        assert not kernels._work()
        assert not kernels._work()
    assert caplog.text.count("Triton does not work here (Failed to find C compiler)") == 1


def test_a_processor_has_no_use_for_them():
    assert not kernels.run_on(torch.zeros(1))


@pytest.mark.parametrize(("lengths", "expected"), [((784, 504), 8), ((500, 504), 4), ((10, 16), 2), ((5, 8), 1)])
def test_numbers_a_load_divide_all_lengths(lengths, expected):
    assert kernels.numbers_a_load(*lengths) == expected


@pytest.mark.parametrize(
    ("length", "dtype", "expected"), [(500, torch.bfloat16, 504), (500, torch.float32, 500), (1, torch.float64, 2)]
)
def test_rows_are_lengthened_to_whole_loads(length, dtype, expected):
    assert kernels.up_to_a_load(length, dtype) == expected
