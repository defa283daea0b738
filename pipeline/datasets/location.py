"""Local paths and URLs of raw data, treated alike."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pipeline.errors import DataError, PipelineError
from pipeline.layout import Layout


@runtime_checkable
class ByteFile(Protocol):
    """An open file of bytes: of the system, in memory, in an archive or behind a URL."""

    def read(self, n_bytes: int = -1, /) -> bytes:
        """Return the next bytes, all by default."""
        ...

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a position and return it."""
        ...

    def tell(self) -> int:
        """Return the position."""
        ...


def locate(layout: Layout, path: str) -> str:
    """Return where ``preprocess.path`` leads: a URL as it is, else a path below the repository's root."""
    return path if is_url(path) else str(layout.root / path)


def is_url(location: str) -> bool:
    """Tell whether a location needs fsspec."""
    return "://" in location


def beside(location: str, name: str) -> str:
    """Return the location of ``name`` in the folder of a file."""
    if is_url(name) or Path(name).is_absolute():
        return name
    return f"{location.rpartition('/')[0]}/{name}" if "/" in location else name


@contextmanager
def open_location(location: str) -> Iterator[ByteFile]:
    """Open a file for reading bytes, at any position.

    Raises:
        DataError: there is no such file, it is none, or it cannot be read; also where a network fails while it is open.
    """
    try:
        with _open(location) as file:
            yield file
    except FileNotFoundError:
        raise DataError(f"{location} is missing; put the file there or correct the path") from None
    except OSError as error:
        raise unreadable(location, error) from error
    except PipelineError:
        raise
    except Exception as error:
        if is_url(location):
            raise unreadable(location, error) from error
        raise


def unreadable(location: str, error: Exception) -> DataError:
    """Return the error for a location whose reading failed; the drivers of URLs raise classes of their own."""
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200] or type(error).__name__
    return DataError(f"{location} cannot be read ({reason}); mend access to it and run again")


def open_filesystem(url: str) -> tuple[Any, str]:
    """Return the fsspec file system of a URL and the path in it.

    Raises:
        DataError: the protocol is unknown or its driver is not installed.
    """
    from fsspec.core import url_to_fs  # half a second of import, which local paths can do without

    try:
        return url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise DataError(f"{url} must have a protocol that fsspec can read, but {error}; correct the path") from None


def _open(location: str) -> Any:
    if is_url(location):
        filesystem, path = open_filesystem(location)
        return filesystem.open(path, "rb")
    descriptor = os.open(location, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO would block for ever without
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DataError(f"{location} must be a file, got a folder, FIFO or device; correct the path")
    return os.fdopen(descriptor, "rb")
