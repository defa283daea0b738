"""Local paths and URLs of raw data, treated alike."""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pipeline.core.errors import DataError, PipelineError
from pipeline.core.layout import Layout
from pipeline.core.text import reason_of
from pipeline.datasets.files.beneath import Beneath, Root

_MISSING = (404, 410)  # of the answers of HTTP

_LOCAL = re.compile("(?:file|local)://(?:localhost(?=/))?")

_SCHEMES = (
    *("http", "https", "ftp", "sftp", "ssh", "smb", "s3", "s3a", "gs", "gcs", "az", "abfs", "adl", "oss", "oci"),
    *("hdfs", "webhdfs", "hf", "memory"),
)
"""Of places that hold files for everybody; what packs, wraps or programs others leads anywhere."""


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
    """Return where ``preprocess.path`` leads: a URL as it is, else a path below the repository's root.

    URLs of local files become paths, so that the rules for links, FIFOs and devices hold for them too.

    Raises:
        DataError: the repository lies there, whose own pictures and tables would be taken for images.
    """
    place = _place(layout, path)
    if path and not is_url(path) and Path(os.path.realpath(layout.root)).is_relative_to(os.path.realpath(place)):
        raise DataError(f"images must lie apart from the repository, got {place}, where it lies; name their own folder")
    return place


def is_url(location: str) -> bool:
    """Tell whether a location needs fsspec."""
    return "://" in location and not _LOCAL.match(location)


def settled(layout: Layout, path: str) -> str:
    """Return a location as it is kept: absolute, without ``..`` and links on the way; a URL as it is.

    Its last name stays, be it a link: the ending tells what kind of file it is.
    """
    location = _place(layout, path)
    if is_url(location):
        return location
    place = Path(location)
    if place.name in ("", ".."):
        return os.path.realpath(place)
    return str(Path(os.path.realpath(place.parent), place.name))


def _place(layout: Layout, path: str) -> str:
    return path if is_url(path) else str(layout.root / _LOCAL.sub("", path))


def is_in_inbox(layout: Layout, location: str) -> bool:
    """Tell whether a path lies directly in the inbox: who may put it there must not choose what is read elsewhere."""
    return os.path.realpath(Path(location).parent) == os.path.realpath(layout.inbox)


def beside(location: str, name: str) -> str:
    """Return the location of ``name`` in the folder of a file."""
    if is_url(name):
        return name
    name = _LOCAL.sub("", name)
    if Path(name).is_absolute():
        return name
    return f"{location.rpartition('/')[0]}/{name}" if "/" in location else name


def boundary(layout: Layout, location: str) -> str | None:
    """Return the folder that no link in the place of a file may lead out of: the inbox, or the folder of a source.

    A file that somebody names by its path may be a link; None then, and behind a URL.
    """
    if is_url(location):
        return None
    if is_in_inbox(layout, location):
        return str(Path(location).parent)
    return location if Path(location).is_dir() else None


def storable(name: str) -> str:
    """Return a file's name as text that UTF-8 can hold: bytes that are none as Python writes them, the rest exactly."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


@contextmanager
def open_location(location: str, within: str | None = None) -> Iterator[ByteFile]:
    """Open a file for reading bytes, at any position.

    Args:
        location: path or URL.
        within: a folder above it that no link may lead out of; see :func:`boundary`.

    Raises:
        DataError: there is no such file, it is none, or it cannot be read; also where a network fails while it is open.
    """
    try:
        with _open(location, within) as file:
            yield file
    except FileNotFoundError as error:
        if (reason := _why_unreached(error)) is not None:
            raise unreadable(location, reason) from error
        raise DataError(f"{location} is missing; put the file there or correct the path") from None
    except OSError as error:
        raise unreadable(location, error) from error
    except PipelineError:
        raise
    except Exception as error:
        if is_url(location):
            raise unreadable(location, error) from error
        raise


def _why_unreached(error: FileNotFoundError) -> BaseException | None:
    """Return why a server gave no answer: the driver of HTTP says of any fault that the file is not there."""
    is_missing = isinstance(error.__cause__, FileNotFoundError) or getattr(error.__cause__, "status", 0) in _MISSING
    return None if is_missing else error.__cause__


def unreadable(location: str, error: BaseException) -> DataError:
    """Return the error for a location whose reading failed; the drivers of URLs raise classes of their own."""
    reason = getattr(error, "strerror", None) or reason_of(error)
    return DataError(f"{location} cannot be read ({reason}); mend access to it and run again")


def open_filesystem(url: str) -> tuple[Any, str]:
    """Return the fsspec file system of a URL and the path in it.

    Raises:
        DataError: the protocol is unknown or its driver is not installed.
    """
    if any(map(_LOCAL.match, url.split("::"))):
        raise DataError(f"{url} must not lead to local files by way of others; pass the path itself")
    scheme = re.split("::|://", url, maxsplit=1)[0]
    if "::" in url or scheme not in _SCHEMES:
        got = "a chain of URLs" if scheme in _SCHEMES else repr(scheme)
        raise DataError(
            f"{url} must have a protocol that fsspec can read, one of {', '.join(_SCHEMES)}, got {got}; "
            "correct the path"
        )
    from fsspec.core import url_to_fs  # half a second of import, which local paths can do without

    try:
        return url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise DataError(f"{url} must have a protocol that fsspec can read, but {error}; correct the path") from None
    except Exception as error:  # some drivers connect at once
        raise unreadable(url, error) from error


def _open(location: str, within: str | None) -> Any:
    if is_url(location):
        filesystem, path = open_filesystem(location)
        return filesystem.open(path, "rb")
    path = _LOCAL.sub("", location)
    if within not in (None, location):  # a folder where a file is due is refused like any other
        try:
            with Beneath(Root(within)) as folder:
                return os.fdopen(folder.open(os.path.relpath(path, within)), "rb")
        except DataError as error:  # the reason alone
            raise DataError(f"{location} {error}") from None
    _require_file(location, Path(path).stat())  # merely opening a device may set it to work
    # A FIFO that takes the file's place in this moment must not block.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    file = os.fdopen(descriptor, "rb")
    try:
        _require_file(location, os.fstat(descriptor))
    except DataError:
        file.close()
        raise
    return file


def _require_file(location: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{location} must be a file, got a folder, FIFO or device; correct the path")
