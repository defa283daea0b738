"""Fetching the files of public data sets: with progress, checksums, retries and several addresses."""

import errno
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.errors import DataError, ResourceError
from pipeline.core.progress import Progress, progress

_RETRIES = 2
_TIMEOUT_SECONDS = 30
_CHUNK = 2**16
_NO_PLACE = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}


@dataclass(frozen=True)
class RemoteFile:
    """A file that several addresses offer.

    Attributes:
        name: of the local file.
        urls: addresses, tried in this order.
        checksum: ``md5:…`` or ``sha256:…`` of the file.
    """

    name: str
    urls: Sequence[str]
    checksum: str


def download(file: RemoteFile, folder: Path) -> Path:
    """Fetch a file into a folder; it appears there only when its checksum is right.

    Raises:
        DataError: no address delivered it; the message lists what each said and how to provide the file by hand.
        ResourceError: the folder cannot take the file.
    """
    faults: list[str] = []
    for url in file.urls:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return _retrieve(file, url, folder)
        except (OSError, ValueError) as error:  # pooch: ValueError for a wrong checksum or status; OSError: network
            if isinstance(error, OSError) and error.errno in _NO_PLACE:
                raise ResourceError(f"{folder} must take {file.name}, but {error}; mend it and run again") from error
            faults.append(f"{url}: {_reason(error)}")
    raise DataError(
        f"{file.name} must be downloaded, but no address delivered it ({'; '.join(faults)}); without a network copy "
        f"the file ({file.checksum}) from another machine to {folder / file.name} and run again"
    )


def _reason(error: Exception) -> str:
    return " ".join(str(error).split("(Caused by ")[-1].split())[:200]  # requests nests the cause in its own words


def _retrieve(file: RemoteFile, url: str, folder: Path) -> Path:
    import pooch  # here, because machines that only train need not have it

    pooch.get_logger().setLevel(logging.WARNING)
    store = pooch.create(
        path=folder,
        base_url="",
        registry={file.name: file.checksum},
        urls={file.name: url},
        retry_if_failed=_RETRIES,
    )
    with _Bar(f"download {file.name}") as bar:
        http: Any = pooch.HTTPDownloader  # its annotations allow neither this bar nor its use below
        downloader = http(progressbar=bar, chunk_size=_CHUNK, timeout=_TIMEOUT_SECONDS)
        return Path(store.fetch(file.name, downloader=downloader))


class _Bar:
    """What pooch calls its progress bar; the size is known only when the answer begins."""

    def __init__(self, description: str) -> None:
        self.total = 0
        self._description = description
        self._done = 0
        self._bar: Progress | None = None
        self._stack = ExitStack()

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def update(self, n: int) -> None:
        """Count bytes; a repeated attempt and the last, partly filled chunk count no further than ``total``."""
        if self._bar is None:
            self._bar = self._stack.enter_context(progress(self._description, self.total, "byte"))
        news = min(n, self.total - self._done)
        if news > 0:
            self._done += news
            self._bar.advance(news)

    def reset(self) -> None:
        """Pooch resets and fills the bar at the end."""

    def close(self) -> None:
        """The context closes the bar."""
