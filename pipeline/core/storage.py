"""Files that appear whole or not at all."""

import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.core.errors import DataError, ResourceError


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of ``path``; on success sync it and rename it into place.

    Who may read it is decided by the umask, as for any other file.

    Raises:
        ResourceError: the folder cannot be written or the disk is full; ``path`` is untouched.
    """
    with as_resource_error(path), _temporary(path, partial(Path.touch, exist_ok=False)) as temporary:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)


@contextmanager
def atomic_dir(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling folder; on success sync its files and put it in place of ``path``.

    A folder cannot be exchanged in one system call everywhere, so an existing ``path`` is removed just before the
    rename; leftovers of killed runs beside it are removed first.

    Raises:
        ResourceError: the folder cannot be written or the disk is full; ``path`` is untouched.
    """
    with as_resource_error(path):
        for leftover in path.parent.glob(f".{path.name}.*.tmp"):
            _remove_unowned(leftover)
        with temporary_dir(path) as temporary:
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    sync(file)
            if path.exists():
                shutil.rmtree(path)
            temporary.rename(path)
            sync(path.parent)


@contextmanager
def temporary_dir(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling folder of ``path``, and delete what is left of it at the end."""
    with _temporary(path, Path.mkdir) as temporary:
        yield temporary


def remove_leftovers(folder: Path, *, below: bool = True) -> list[Path]:
    """Delete the temporary files and folders whose owner was killed, and return them.

    A temporary file in use is locked by its process, so neither its age nor any clock matters. Where the file system
    has no locks, nothing counts as left over.

    Args:
        folder: where to look.
        below: look into its subfolders too.
    """
    found = folder.rglob(".*.tmp") if below else folder.glob(".*.tmp")
    return [path for path in sorted(found) if _remove_unowned(path)]


@contextmanager
def _temporary(path: Path, make: Callable[[Path], None]) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        while True:
            temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
            make(temporary)
            stack.callback(_delete, temporary)
            descriptor = os.open(temporary, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if temporary.exists():  # else another process took it for a leftover before it was locked
                break
        yield temporary


def _remove_unowned(temporary: Path) -> bool:
    try:
        descriptor = os.open(temporary, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _delete(temporary)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON with sorted keys, atomically."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    with atomic_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: the file is missing or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} is missing; run the stage that writes it, or facets check --repair") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path} must be JSON, but {error}; run facets check --repair") from None


def file_sha256(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_free_space(path: Path, n_bytes: int) -> None:
    """Refuse to start work that the disk cannot hold.

    Raises:
        ResourceError: less than ``n_bytes`` are free where ``path`` will lie.
    """
    place = path
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < n_bytes:
        raise ResourceError(
            f"{path} needs {n_bytes / 2**20:.0f} MiB of free disk, but {free / 2**20:.0f} MiB are left; "
            "free some space and run again"
        )


def disk_usage(path: Path) -> int:
    """Return the bytes of all files below ``path`` (0 where it does not exist); files that vanish meanwhile count 0."""
    total = 0
    for file in path.rglob("*"):
        with suppress(FileNotFoundError):
            if file.is_file() and not file.is_symlink():
                total += file.stat().st_size
    return total


_MACHINE_FAULTS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EFBIG,
    errno.EIO,
    errno.ENOTDIR,
    errno.EEXIST,  # a file stands where a folder is needed
}


@contextmanager
def as_resource_error(path: Path) -> Iterator[None]:
    """Turn faults of the machine met while writing ``path`` into a clear error; other errors pass.

    Raises:
        ResourceError: the disk is full or fails, or writing is not permitted.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _MACHINE_FAULTS:
            raise
        reason = error.strerror or str(error)
        raise ResourceError(f"{path} must be writable, but: {reason}; mend that and run again") from error


def sync(path: Path) -> None:
    """Force a file, or the names in a folder, onto the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
