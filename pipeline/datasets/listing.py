"""Which files of a folder are meant to be images."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pipeline.datasets.decode_worker import SPECIAL, Item
from pipeline.datasets.location import is_url, open_filesystem, unreadable
from pipeline.errors import DataError

SIDECARS = {".csv", ".tsv", ".txt", ".json", ".jsonl", ".yaml", ".yml", ".xml", ".md", ".html", ".log", ".ini", ".db"}
"""Endings of files that accompany images; they are passed over. Every other file should be an image."""

_FETCHED_TOGETHER = 32


@dataclass(frozen=True)
class Listing:
    """Files below a folder or URL.

    Attributes:
        location: the folder.
        names: paths below it, in alphabetical order.
        rejected: (path, reason) of entries that are no files.
    """

    location: str
    names: list[str]
    rejected: list[tuple[str, str]]

    @property
    def root(self) -> str | None:
        """The folder, if it is local."""
        return None if is_url(self.location) else self.location

    def items(self) -> Iterator[Item]:
        """Yield names, with their bytes where the files are remote.

        Raises:
            DataError: a remote file cannot be fetched.
        """
        if self.root is not None:
            yield from ((name, None) for name in self.names)
            return
        filesystem, base = open_filesystem(self.location)
        names = iter(self.names)
        while some := list(islice(names, _FETCHED_TOGETHER)):
            paths = {f"{base.rstrip('/')}/{name}": name for name in some}
            try:
                contents = filesystem.cat(list(paths))
            except Exception as error:  # every driver of fsspec has classes of its own
                raise unreadable(self.location, error) from error
            if isinstance(contents, bytes):  # one path gives its bytes alone
                contents = {next(iter(paths)): contents}
            yield from ((name, contents[path]) for path, name in paths.items())


def list_folder(location: str) -> Listing:
    """List a folder with all folders below it, without hidden entries and sidecars; links to folders are not followed.

    Raises:
        DataError: there is no such folder.
    """
    if is_url(location):
        return _list_remote(location)
    if not Path(location).is_dir():
        raise DataError(f"{location} must be a folder of images; mount it or correct the path")
    names: list[str] = []
    rejected: list[tuple[str, str]] = []
    pending = [""]
    while pending:
        below = pending.pop()
        try:
            entries = list(os.scandir(f"{location}/{below}"))
        except OSError as error:
            rejected.append(
                (printable(below), f"is a folder that cannot be read ({error.strerror}); mend its permissions")
            )
            continue
        for entry in entries:
            name = below + entry.name
            if entry.is_dir(follow_symlinks=False):
                pending += [] if entry.name.startswith(".") else [f"{name}/"]
            elif _is_meant(entry.name):
                reason = _not_a_file(entry)
                if reason:
                    rejected.append((printable(name), reason))
                else:
                    names.append(name)
    return Listing(location, sorted(names), sorted(rejected))


def printable(name: str) -> str:
    """Return a file's name as text that can be stored anywhere; bytes that are no UTF-8 become �."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _is_meant(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() not in SIDECARS  # noqa: PTH122 - a name alone


def _not_a_file(entry: os.DirEntry[str]) -> str | None:
    if entry.is_file(follow_symlinks=False):
        return None
    if entry.is_symlink():
        return "is a link to a folder, which is not followed; copy the folder instead" if entry.is_dir() else None
    kind = SPECIAL.get(stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode), "special")
    return f"is {kind}, no file; remove it"


def _list_remote(location: str) -> Listing:
    filesystem, base = open_filesystem(location)
    try:
        found = filesystem.find(base)
    except Exception as error:  # every driver of fsspec has classes of its own
        raise unreadable(location, error) from error
    prefix = base.rstrip("/") + "/"
    names = [path.removeprefix(prefix) for path in found if path.startswith(prefix)]
    names = [name for name in names if all(_is_meant(part) for part in name.split("/"))]
    if not names:
        raise DataError(f"{location} must be a folder with images, got nothing there; correct the path")
    return Listing(location, sorted(names), [])
