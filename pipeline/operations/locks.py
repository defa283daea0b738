"""Locks that the operating system frees however their holder ends.

The repository lock surrounds ``dvc`` commands and may be held for hours; a publish lock, one an experiment, surrounds
the swap of a version and is held for seconds. The first is never taken while the second is held. Code that adds or
rewrites shards of an experiment holds its batches lock, so that ingestions and removals take turns; this lock is never
taken while a publish lock is held, and its holder never waits for the repository lock. Two more keep the service in
order: one process serves a repository, and one rebuild of an experiment waits for its turn. The last one surrounds a
change of ``params.yaml``; whoever holds it waits for no other.
"""

import fcntl
import json
import os
import pwd
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipeline.core.errors import BusyError, ResourceError
from pipeline.core.layout import Layout
from pipeline.core.text import printable

_POLL_SECONDS = 0.1
_SECONDS_BEFORE_NOTICE = 1.0
_publishing = threading.local()


@dataclass(frozen=True)
class HeldLock:
    """A lock in force.

    Attributes:
        path: its file, which names the holder.
        descriptor: open file; a child that inherits it keeps the lock until it ends too.
    """

    path: Path
    descriptor: int


@contextmanager
def repository_lock(root: Path, purpose: str, wait_seconds: float = 0.0) -> Iterator[HeldLock]:
    """Hold the lock around ``dvc`` commands of a repository.

    Args:
        root: the repository.
        purpose: what the holder does, for others to read, e.g. ``"rebuild digits"``.
        wait_seconds: how long to wait for another holder.

    Raises:
        BusyError: another process held it all the while; the message names it.
    """
    if getattr(_publishing, "depth", 0):
        raise RuntimeError("the repository lock must be taken before a publish lock, not while holding one")
    path = root / ".work" / "locks" / "repository.lock"
    with _lock(path, "the repository", purpose, wait_seconds) as held:
        yield held


@contextmanager
def publish_lock(layout: Layout, purpose: str, wait_seconds: float = 60.0) -> Iterator[HeldLock]:
    """Hold the lock around changes of one experiment's published tables.

    Raises:
        BusyError: another process held it all the while; the message names it.
    """
    path = layout.root / ".work" / "locks" / f"publish-{layout.experiment}.lock"
    with _lock(path, f"what {layout.experiment} publishes", purpose, wait_seconds) as held:
        _publishing.depth = getattr(_publishing, "depth", 0) + 1
        try:
            yield held
        finally:
            _publishing.depth -= 1


@contextmanager
def batches_lock(layout: Layout, purpose: str, wait_seconds: float = 0.0) -> Iterator[HeldLock]:
    """Hold the lock around changes of one experiment's shards; readers of shards need none.

    Raises:
        BusyError: another process held it all the while; the message names it.
    """
    if getattr(_publishing, "depth", 0):
        raise RuntimeError("the batches lock must be taken before a publish lock, not while holding one")
    path = layout.root / ".work" / "locks" / f"batches-{layout.experiment}.lock"
    with _lock(path, f"the batches of {layout.experiment}", purpose, wait_seconds) as held:
        yield held


@contextmanager
def service_lock(root: Path, purpose: str = "facets serve") -> Iterator[HeldLock]:
    """Hold the lock of the one process that runs the schedules of a repository, or keeps others from doing so.

    Raises:
        BusyError: another process does; the message names it.
    """
    path = root / ".work" / "locks" / "service.lock"
    with _lock(path, "the schedules of this repository", purpose, 0.0) as held:
        yield held


@contextmanager
def next_in_line(layout: Layout) -> Iterator[HeldLock]:
    """Hold the one place of a scheduled rebuild that waits for the repository lock; leave it with that lock in hand.

    Raises:
        BusyError: a rebuild of the experiment waits already and will do the same work.
    """
    path = layout.root / ".work" / "locks" / f"next-{layout.experiment}.lock"
    with _lock(path, f"the next rebuild of {layout.experiment}", "wait for its turn", 0.0) as held:
        yield held


@contextmanager
def params_lock(root: Path, purpose: str, wait_seconds: float = 60.0) -> Iterator[HeldLock]:
    """Hold the lock around a change of ``params.yaml``, from reading it to writing it.

    Raises:
        BusyError: another process held it all the while; the message names it.
    """
    path = root / ".work" / "locks" / "params.lock"
    with _lock(path, "params.yaml", purpose, wait_seconds) as held:
        yield held


@contextmanager
def _lock(path: Path, subject: str, purpose: str, wait_seconds: float) -> Iterator[HeldLock]:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _acquire(path, subject, wait_seconds)
    try:
        holder = {
            "pid": os.getpid(),
            "user": user_name(os.geteuid()),
            "purpose": purpose,
            "since": datetime.now().astimezone().isoformat("T", "seconds"),
        }
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode(), 0)
        yield HeldLock(path, descriptor)
    finally:
        os.close(descriptor)


def _acquire(path: Path, subject: str, wait_seconds: float) -> int:
    start = time.monotonic()
    noticed = False
    while True:
        descriptor = _try(path, subject)
        if descriptor is not None:
            return descriptor
        waited = time.monotonic() - start
        if waited >= wait_seconds:
            raise BusyError(
                f"one process at a time may change {subject}, but {_holder(path)} (waited {waited:.0f} s); "
                "wait until it ends and run again"
            )
        if waited > _SECONDS_BEFORE_NOTICE and not noticed:
            noticed = True
            print(printable(f"waiting, because {_holder(path)}"), file=sys.stderr, flush=True)
        time.sleep(_POLL_SECONDS)


def _try(path: Path, subject: str) -> int | None:
    """Return the descriptor of the locked file, or None where another process has the lock."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        if path.exists() and _is_held(path):
            return None
        raise ResourceError(
            f"whoever changes {subject} must be able to write {path}, but it belongs to {_owner(path)} and "
            f"{user_name(os.geteuid())} may not; work as that user, or let a common group write in {path.parent}"
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    # Someone may have deleted the file between open and lock; then another process can lock its successor.
    if not path.exists() or path.stat().st_ino != os.fstat(descriptor).st_ino:
        os.close(descriptor)
        return None
    return descriptor


def _is_held(path: Path) -> bool:
    """Tell whether a lock that may only be read is held; one that may not even be read counts as free."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text())
        who = "" if holder["user"] == user_name(os.geteuid()) else f" of {holder['user']}"
        return f"pid {holder['pid']}{who} ({holder['purpose']}) has held its lock since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return f"a process that has not yet named itself holds {path.name}"


def _owner(path: Path) -> str:
    return user_name((path if path.exists() else path.parent).stat().st_uid)


def user_name(number: int) -> str:
    """Return the name of the user of a number, as far as the system knows one."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
