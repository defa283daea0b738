"""What a result line says of where it was measured."""

import os
import platform
import re
import resource
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

_PACKAGES = ("torch", "numpy", "scikit-learn", "pyarrow", "duckdb")


def describe_machine() -> dict[str, Any]:
    """Return processor, memory, package versions, commit and time."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpu": gpu,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "commit": _git("rev-parse", "--short=12", "HEAD"),
        "is_clean": not _git("status", "--porcelain", "--untracked-files=no"),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def peak_mib() -> int:
    """Return the peak memory of this process."""
    if sys.platform == "linux":
        # Not getrusage, which also knows the memory of the process that started this one.
        (peak,) = re.findall(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
        return round(int(peak) / 1024)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


def _processor() -> str:
    capabilities = torch.cpu.get_capabilities()
    return f"{capabilities.get('cpu_name', platform.processor())} ({platform.machine()})"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:  # a machine that only trains
        return None


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()
