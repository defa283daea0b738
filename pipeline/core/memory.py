"""Memory: how much is available, whether the process keeps what it frees, and clear errors where it runs out."""

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.core.errors import ResourceError
from pipeline.core.text import reason_of

_WORDS = ("not enough memory", "allocate memory", "out of memory", "start new thread", "failed to map segment")
"""What errors without a class of their own say: PyTorch's on the processor and on a device, Python's threads', and the
dynamic loader's, as many modules are imported late."""

_PLENTY = 2**30  # bytes; reading in parts within the bounds of datasets/bounds.py takes less

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt(3)
_LARGEST_ON_HEAP = 32 << 20  # bytes; glibc takes no more

_PROC, _GROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def available_bytes() -> int:
    """Return how much more memory this process could have now: what is free on the machine, or less by a limit of it.

    Limits are those of control groups (containers, systemd) and of the process itself (``ulimit -v`` and ``-d``).
    """
    free = _sizes(_PROC / "meminfo").get("MemAvailable")
    if free is None:  # no Linux: what others use is not known
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return max(0, min([free, *_left_by_groups(), *_left_by_limits()]))


def _left_by_groups() -> Iterator[int]:
    with suppress(OSError):
        for line in (_PROC / "self" / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                base, most, used, cached = _GROUPS, "memory.max", "memory.current", "inactive_file"
            elif "memory" in controllers.split(","):
                base, most, used = _GROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
                cached = "total_inactive_file"
            else:
                continue
            group = base / path.lstrip("/")
            for folder in (group, *group.parents):
                # A group without a limit says "max" or has no such file. What it caches of files is given up first.
                with suppress(OSError, ValueError):
                    stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                    in_use = int((folder / used).read_text()) - int(stat.get(cached, 0))
                    yield int((folder / most).read_text()) - in_use
                if folder == base:
                    break


def _left_by_limits() -> Iterator[int]:
    import resource  # here, as are others below: every command loads this module, few measure memory

    now = _sizes(_PROC / "self" / "status")
    for kind, used in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        limit, _ = resource.getrlimit(kind)
        if limit != resource.RLIM_INFINITY:
            yield limit - now.get(used, 0)


def _sizes(path: Path) -> dict[str, int]:
    """Return the sizes that a file of the kernel states, in bytes."""
    try:
        found = re.findall(r"^(\w+):\s+(\d+) kB$", path.read_text(), re.MULTILINE)
    except OSError:
        return {}
    return {name: int(kibibytes) * 1024 for name, kibibytes in found}


def keep_freed_memory(at_most: int) -> None:
    """Let this process keep the memory that it frees, where its C library can: it soon asks for the same buffers again.

    By default glibc gives large buffers back at once, and the kernel clears each page anew: up to a tenth of a training
    step, and as long as decoding itself.

    Args:
        at_most: bytes; what is free beyond is given back.
    """
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, min(_LARGEST_ON_HEAP, at_most))
        mallopt(_M_TRIM_THRESHOLD, at_most)


def has_room(n_bytes: int) -> bool:
    """Tell whether this process could have so much memory; none of it is touched."""
    import mmap

    try:
        mmap.mmap(-1, n_bytes).close()
    except (OSError, MemoryError):
        return False
    return True


def ran_out(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out: one of Python, NumPy, Arrow, DuckDB, PyTorch or the system."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    if isinstance(error, RuntimeError | ImportError):
        return any(words in str(error).lower() for words in _WORDS)
    duckdb = sys.modules.get("duckdb")  # importing it takes half a second; it raises nothing before
    return duckdb is not None and isinstance(error, duckdb.OutOfMemoryException)


def out_of_memory(what: str, error: BaseException | None = None) -> ResourceError:
    """Return the error for work that needs more memory than there is.

    Args:
        what: that was going on.
        error: what said so.
    """
    said = f" ({reason_of(error)})" if str(error or "").strip() else ""
    return ResourceError(
        f"{what} needs more memory than there is{said}; close other programs or raise the limit (ulimit -v)"
    )


def require_plenty(what: str, error: BaseException) -> None:
    """Report too little memory as the machine's fault; where there is plenty, the file has asked for too much.

    Args:
        what: was going on.
        error: that was met; of other kinds nothing is said.

    Raises:
        ResourceError: there is too little memory for any file.
    """
    if (isinstance(error, MemoryError) or "alloc" in str(error)) and not has_room(_PLENTY):
        raise out_of_memory(what, error) from error


@contextmanager
def as_out_of_memory(what: str) -> Iterator[None]:
    """Turn every kind of error that says that memory ran out into a clear one; other errors pass.

    Raises:
        ResourceError: memory ran out.
    """
    try:
        yield
    except Exception as error:
        if not ran_out(error):
            raise
        raise out_of_memory(what, error) from error
