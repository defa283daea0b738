"""Which files of a folder are meant to be images."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from pipeline.core.errors import DataError
from pipeline.datasets.decoding.worker import Item
from pipeline.datasets.files.beneath import Beneath, Entry, Root, not_a_file
from pipeline.datasets.files.location import is_url, open_filesystem, storable, unreadable
from pipeline.datasets.readers.patterns import EVERYTHING, Patterns

SIDECARS = {
    *(".csv", ".tsv", ".txt", ".json", ".jsonl", ".yaml", ".yml", ".xml", ".md", ".html", ".log", ".ini", ".db", ".cls")
}
"""Endings of files that accompany images; they are passed over. Every other file should be an image."""

_FETCHED_TOGETHER = 32


@dataclass(frozen=True)
class Listing:
    """Files below a folder or URL.

    Attributes:
        location: the folder.
        names: paths below it, in alphabetical order.
        rejected: (path, reason) of entries that are no files, or that patterns leave out.
        root: the folder, if it is local.
    """

    location: str
    names: list[str]
    rejected: list[tuple[str, str]]
    root: Root | None

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


def list_folder(
    location: str, patterns: Patterns = EVERYTHING, *, follow: bool = True, links: bool | None = None
) -> Listing:
    """List a folder with all folders below it, without hidden entries and sidecars.

    Args:
        location: path or URL.
        patterns: what is wanted; other files are rejected, too.
        follow: whether the path itself may be a link.
        links: whether links to folders and out of the folder are followed, as :class:`Root` has it.

    Raises:
        DataError: there is no such folder.
    """
    if is_url(location):
        return _list_remote(location, patterns)
    names: list[str] = []
    rejected: list[tuple[str, str]] = []
    try:
        with Beneath(Root(location, links=links), follow=follow) as folder:
            for entry in folder.walk():
                if entry.reason is None and not is_meant(entry.name):
                    continue
                reason = patterns.reason(entry.name) or no_file(folder, entry)
                if reason:
                    rejected.append((storable(entry.name), reason))
                else:
                    names.append(entry.name)
            return Listing(location, sorted(names), sorted(rejected), Root(location, folder.inode, links))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{location} must be a folder of images; mount it or correct the path") from None
    except OSError as error:
        raise unreadable(location, error) from None


def is_meant(name: str) -> bool:
    """Tell whether a file should be an image by its name: neither it nor a folder above is hidden, it is no sidecar."""
    is_sidecar = os.path.splitext(name)[1].lower() in SIDECARS  # noqa: PTH122 - names of URLs too
    return not is_sidecar and not any(part.startswith(".") and part != ".." for part in name.split("/"))


def no_file(folder: Beneath, entry: Entry) -> str | None:
    """Return why an entry of a folder is neither a file nor a link to one; None where it is."""
    if entry.reason is not None or entry.kind == stat.S_IFREG:
        return entry.reason
    if entry.kind == stat.S_IFLNK:  # one to a file is followed when it is read, as far as it stays in the folder
        return folder.why_not_followed(entry.name)
    return not_a_file(entry.kind)


def _list_remote(location: str, patterns: Patterns) -> Listing:
    filesystem, base = open_filesystem(location)
    try:
        found = filesystem.find(base) or filesystem.ls(base, detail=False)  # find keeps to itself what it cannot reach
    except FileNotFoundError:
        found = []
    except Exception as error:  # every driver of fsspec has classes of its own
        raise unreadable(location, error) from error
    prefix = base.rstrip("/") + "/"
    names = [path.removeprefix(prefix) for path in found if path.startswith(prefix)]
    names = list(filter(is_meant, names))
    if not names:
        raise DataError(f"{location} must be a folder with images, got nothing there; correct the path")
    rejected = [(name, reason) for name in sorted(names) if (reason := patterns.reason(name)) is not None]
    left_out = {name for name, _ in rejected}
    return Listing(location, sorted(name for name in names if name not in left_out), rejected, None)
