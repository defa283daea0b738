"""Killing an operation at a random moment, the way a machine does it."""

import os
import signal
import time
import traceback
from collections.abc import Callable

import numpy as np


def seconds_of(work: Callable[[], object]) -> float:
    """Run something in a process of its own and return how long it took."""
    start = time.monotonic()
    _, status = os.waitpid(_fork(work), 0)
    assert status == 0
    return time.monotonic() - start


def kill_after(seconds: float, work: Callable[[], object]) -> bool:
    """Start something in a process of its own, kill -9 it after a while; tell whether it was still running."""
    pid = _fork(work)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, _ = os.waitpid(pid, os.WNOHANG)
        if done:
            return False
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return True


def moments(n_kills: int, longest: float, seed: int) -> list[float]:
    """Return random moments, spread over the whole duration."""
    generator = np.random.default_rng(seed)
    return [float((k + generator.random()) / n_kills * longest) for k in generator.permutation(n_kills)]


def _fork(work: Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - it is shown, and this process ends
            traceback.print_exc()
        finally:
            os._exit(code)
    return pid
