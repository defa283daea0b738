"""The files in a tar or ZIP archive of other people, one after the other; nothing is ever unpacked to the disk.

A name in an archive is a name and no path: whatever it says, nothing is opened, written or followed by it.
"""

import gzip
import posixpath
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, cast

from pipeline.core.errors import DataError
from pipeline.core.memory import require_plenty
from pipeline.core.text import reason_of
from pipeline.datasets.files.beneath import not_a_file
from pipeline.datasets.files.bounds import require_count, require_unpacked, stored_bytes
from pipeline.datasets.files.location import ByteFile, open_location
from pipeline.datasets.readers.zip_list import require_whole

_GZIP = b"\x1f\x8b"
_ZIP = (b"PK\3\4", b"PK\5\6")  # with files and without
_PIECE, _TAIL_PIECE = 2**20, 2**16

_HEADER_BYTES = 2**16
"""tarfile reads what stands before a file (long names, extended attributes, maps of holes) as a whole."""

_ALL_HEADER_BYTES, _ALL_HEADER_TIMES = 2**28, 100
"""Parsing headers takes some hundred times as long as unpacking them."""

_LONG_NUMBER = re.compile(rb"\d{100}")
"""Longer than what names hold; an expression of tarfile takes the square of the digits in time."""

_DIRECTORY_BYTES = 2**25
"""zipfile reads the list of all files as a whole, and takes some ten times its room."""

_PLAINLY_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Of other methods zipfile unpacks whatever a small part holds, all at once."""

_ENCRYPTED = 1
_LARGEST = 2**62  # no file has so many bytes, and drivers refuse larger positions in many ways

_NEGATIVE = "a header has a negative size"

_LINK = "is a link, which is not followed in an archive; store the file itself"
_TAR_KINDS = {tarfile.FIFOTYPE: stat.S_IFIFO, tarfile.CHRTYPE: stat.S_IFCHR, tarfile.BLKTYPE: stat.S_IFBLK}


class Member(NamedTuple):
    """A file in an archive.

    Attributes:
        name: without what makes it a path from the root.
        n_bytes: of its content, as the archive says.
        fault: why its content cannot be used; None if it can.
        read: returns the content, or why it has none; before the next member is asked for.
    """

    name: str
    n_bytes: int
    fault: str | None
    read: Callable[[], bytes | DataError]


def archive_members(location: str, within: str | None = None) -> Iterator[Member]:
    """Yield the files of an archive in its order, without folders.

    Args:
        location: path or URL of a tar archive, gzipped or not, or of a ZIP archive.
        within: a folder above it that no link may lead out of.

    Raises:
        DataError: it is missing, damaged as a whole, or asks for far more than it can hold.
    """
    with open_location(location, within) as file, _plain_faults(location):
        is_zip = file.read(4) in _ZIP
        yield from (_zip_members if is_zip else _tar_members)(file, location)


@contextmanager
def _plain_faults(location: str) -> Iterator[None]:
    try:
        yield
    except (gzip.BadGzipFile, tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise _damaged(location, error) from None
    # What tarfile and zipfile raise where they trust a number or a text.
    except (ValueError, OverflowError, LookupError, NotImplementedError, RecursionError, MemoryError) as error:
        require_plenty(f"reading {location}", error)
        raise _damaged(location, error) from None


def _damaged(location: str, reason: object) -> DataError:
    return DataError(f"{location} must be a complete tar or ZIP archive, but {reason_of(reason)}; write it again")


def _plain_name(name: str) -> str:
    return posixpath.normpath(name.lstrip("/"))


def _fault_of_name(name: str) -> str | None:
    return "has a name that leads out of the archive; name it without .." if name.startswith("../") else None


# --- tar --------------------------------------------------------------------------------------------------------------


class _TarStream:
    """The bytes of a tar archive, read forwards: whatever is packed or skipped counts as unpacked."""

    def __init__(self, file: ByteFile, location: str) -> None:
        self._location = location
        self._n_bytes = file.seek(0, 2)
        self.n_stored = stored_bytes(file, self._n_bytes)
        file.seek(0)
        self._is_packed = file.read(len(_GZIP)) == _GZIP
        file.seek(0)
        self._file = cast(ByteFile, gzip.GzipFile(fileobj=cast(Any, file))) if self._is_packed else file
        self._position = self._n_unpacked = self._n_header = self._n_headers = 0
        self._last = b""

    def read(self, n_bytes: int) -> bytes:
        """Return what tarfile asks for: headers, never the content of a member."""
        self._n_header += n_bytes
        self._n_headers += n_bytes
        most = max(_ALL_HEADER_BYTES, _ALL_HEADER_TIMES * self.n_stored)
        if self._n_header > _HEADER_BYTES or self._n_headers > most:
            raise DataError(
                f"{self._location} must have at most {_HEADER_BYTES} bytes of names and attributes before a file and "
                f"{most} in all, got more; write it without extended attributes"
            )
        self._last = self.take(n_bytes)
        if _LONG_NUMBER.search(self._last):
            raise _damaged(self._location, "a header holds a number of a hundred digits")
        return self._last

    def take(self, n_bytes: int) -> bytes:
        """Return the next bytes, fewer only at the end."""
        if n_bytes < 0:
            raise _damaged(self._location, _NEGATIVE)
        data = self._file.read(n_bytes)
        self._position += len(data)
        self._n_unpacked += len(data)
        require_unpacked(self._location, self._n_unpacked, self.n_stored)
        return data

    def seek(self, position: int, _: int = 0) -> int:
        """Skip to a position; one behind the end is not reached."""
        if position < self._position:
            raise _damaged(self._location, _NEGATIVE)
        if not self._is_packed:
            self._position = self._file.seek(min(position, self._n_bytes))
        while self._position < position and self.take(min(_PIECE, position - self._position)):
            pass
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def content(self, position: int, n_bytes: int) -> bytes:
        """Return the content of a member."""
        self.seek(position)
        data = self.take(n_bytes)
        if len(data) < n_bytes:
            raise _damaged(self._location, "it ends within a file")
        return data

    def begin_member(self) -> None:
        """Allow for the headers of one more member."""
        self._n_header = 0

    def finish(self) -> None:
        """Check that the last header was the mark of the end, which zeros alone follow; and a checksum of all of it."""
        if len(self._last) != tarfile.BLOCKSIZE or any(self._last):
            raise _damaged(self._location, "it ends without the mark of its end")
        while data := self.take(_TAIL_PIECE):
            if data.strip(b"\0"):
                raise _damaged(self._location, "more follows the mark of its end, as where archives were joined")


def _tar_members(file: ByteFile, location: str) -> Iterator[Member]:
    stream = _TarStream(file, location)
    archive: Any = tarfile.TarFile(fileobj=cast(Any, stream), encoding="utf-8", errors="surrogateescape")
    n_members = 0
    while (info := archive.next()) is not None:
        n_members += 1
        require_count(location, n_members, stream.n_stored)
        if info.size < 0:
            raise _damaged(location, _NEGATIVE)
        if not info.isdir():
            name = _plain_name(info.name)
            fault = _fault_of_name(name) or _tar_fault(info)
            yield Member(name, info.size, fault, partial(stream.content, info.offset_data, info.size))
        archive.members.clear()  # tarfile keeps all of them, and whatever global headers say
        archive.pax_headers.clear()
        stream.begin_member()
    stream.finish()


def _tar_fault(info: tarfile.TarInfo) -> str | None:
    if info.issym() or info.islnk():
        return _LINK
    if info.issparse():
        return "is stored with holes; store it without"
    return None if info.isreg() else not_a_file(_TAR_KINDS.get(info.type, 0))


# --- ZIP --------------------------------------------------------------------------------------------------------------


class _ZipFile:
    """The bytes of a ZIP archive; zipfile cannot be told how much to read of its list."""

    def __init__(self, file: ByteFile, location: str) -> None:
        self._file, self._location = file, location
        self.is_open = False

    def read(self, n_bytes: int = -1) -> bytes:
        if not self.is_open and n_bytes > _DIRECTORY_BYTES:
            raise DataError(
                f"{self._location} must have a list of files of at most {_DIRECTORY_BYTES} bytes, got {n_bytes}; "
                "split it, or write a tar archive"
            )
        return self._file.read(n_bytes)

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == 0 and not 0 <= offset < _LARGEST:
            raise zipfile.BadZipFile("something lies outside the file")
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True


def _zip_members(file: ByteFile, location: str) -> Iterator[Member]:
    n_stored = stored_bytes(file, file.seek(0, 2))
    file.seek(0)
    limited = _ZipFile(file, location)
    n_unpacked = 0
    with zipfile.ZipFile(cast(Any, limited)) as archive:
        limited.is_open = True
        require_whole(file, archive)
        members = [info for info in archive.infolist() if not info.is_dir()]
        require_count(location, len(members), n_stored)

        def content(info: zipfile.ZipInfo) -> bytes | DataError:
            nonlocal n_unpacked
            n_unpacked += info.file_size
            require_unpacked(location, n_unpacked, n_stored)
            try:
                with archive.open(info) as packed:
                    data = packed.read(info.file_size)
            except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError) as error:
                return DataError(f"is damaged in its archive ({reason_of(error)}); write the archive again")
            return data

        for info in members:
            name = _plain_name(info.filename)
            fault = _fault_of_name(name) or _zip_fault(info)
            yield Member(name, info.file_size, fault, partial(content, info))


def _zip_fault(info: zipfile.ZipInfo) -> str | None:
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted; store it without a password"
    if info.compress_type not in _PLAINLY_PACKED:
        return "is packed by another method than deflate; pack it anew"
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return _LINK
    return None if kind in (0, stat.S_IFREG) else not_a_file(kind)
