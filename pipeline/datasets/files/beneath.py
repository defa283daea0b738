"""Opening files below a folder so that nothing leads out of it, even while others exchange files and folders.

Every part of a name is looked up in the open folder before it and never followed as a link; where a link leads is
walked in the same way. To check a path first and to open it then would leave a moment for putting a link in the place
of a folder. Who asks for it has all links followed, wherever they lead.
"""

import os
import stat
from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple

from pipeline.core.errors import DataError

SPECIAL = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
"""What to call entries of a folder that are no files, by their kind."""

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO that takes a file's place must not block
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_MOST_LINKS = 40  # as many as Linux follows
_FOLLOWED_FILE = _FILE & ~os.O_NOFOLLOW
_DEEPEST = 100
_MOST_LINKED_FOLDERS = 4
"""So many links to folders are followed one behind the other: between folders full of links there are endless ways."""

_Inode = tuple[int, int]


class Root(NamedTuple):
    """A local folder.

    Attributes:
        path: of it.
        inode: device and number of the folder that was found there first; another one is refused.
        links: whether all links are followed, also out of the folder and to folders; None where nobody may ask for it.
    """

    path: str
    inode: _Inode | None = None
    links: bool | None = None


class Entry(NamedTuple):
    """What was found below a folder.

    Attributes:
        name: path below the folder.
        kind: as of ``stat.S_IFMT``; 0 where ``reason`` says why it is not known.
        reason: why the entry, or what lies in it, cannot be read.
    """

    name: str
    kind: int
    reason: str | None = None


class Beneath:
    """An open folder and what lies in it, as a context.

    Args:
        root: the folder; its path itself may be or hold links.
        follow: whether the folder may be a link.

    Raises:
        OSError: it cannot be opened.
        DataError: another folder was put in its place.
    """

    def __init__(self, root: Root, *, follow: bool = True) -> None:
        self._path, self._links = root.path, root.links
        self._root = os.open(root.path, _FOLDER | (0 if follow else os.O_NOFOLLOW))
        self._name, self._folder = "", self._root
        if root.inode not in (None, self.inode):
            self._close()
            raise DataError("lies in a folder that was exchanged while it was read; deliver it again")

    def __enter__(self) -> "Beneath":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    @property
    def inode(self) -> tuple[int, int]:
        """Device and number of the folder."""
        return _inode_of(self._root)

    def open(self, name: str) -> int:
        """Return the descriptor of a regular file; nothing else is ever opened.

        Args:
            name: path below the folder; links are followed as long as they stay below it, or wherever they lead.

        Raises:
            OSError: there is no such file, or it cannot be read.
            DataError: the reason, to be put behind the name: it is no file, or leads out of the folder.
        """
        if self._links:
            return _open_file(name, self._root, stat.S_IFMT(os.stat(name, dir_fd=self._root).st_mode), _FOLLOWED_FILE)
        parent, _, last = name.rpartition("/")
        if self._enter(parent):
            kind = _kind_of(last, self._folder)
            if kind != stat.S_IFLNK:
                return _open_file(last, self._folder, kind)
        return self._open_by_links(name)

    def stat(self, name: str) -> os.stat_result:
        """Return the status of a regular file; raises as :meth:`open`."""
        parent, _, last = name.rpartition("/")
        if self._enter(parent):
            status = os.stat(last, dir_fd=self._folder, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                return status
        descriptor = self.open(name)
        try:
            return os.fstat(descriptor)
        finally:
            os.close(descriptor)

    def walk(self) -> Iterator[Entry]:
        """Yield all that lies below the folder, hidden entries apart; of followed links to folders, what lies there."""
        pending: list[tuple[str, tuple[_Inode, ...], int]] = [("", (), 0)]
        while pending:
            below, above, n_links = pending.pop()
            entries, above = self._list(below, above)
            for entry in entries:
                is_link = bool(self._links) and entry.kind == stat.S_IFLNK and self._leads_to_folder(entry.name)
                if entry.kind != stat.S_IFDIR and not is_link:
                    yield entry
                elif n_links + is_link > _MOST_LINKED_FOLDERS:
                    yield Entry(
                        entry.name, 0, f"lies behind more than {_MOST_LINKED_FOLDERS} links to folders; copy it"
                    )
                else:
                    pending.append((f"{entry.name}/", above, n_links + is_link))

    def why_not_followed(self, name: str) -> str | None:
        """Return why a link to a folder is refused; None for one to anything else."""
        return self._folder_refusal() if self._leads_to_folder(name) else None

    def _folder_refusal(self) -> str:
        return f"is a link to a folder, which is not followed; copy the folder instead{self._or_ask()}"

    def _leads_out(self) -> DataError:
        return DataError(f"is a link that leads out of the folder; copy the file instead{self._or_ask()}")

    def _or_ask(self) -> str:
        return "" if self._links is None else ", or set preprocess.follow_links"

    def _leads_to_folder(self, name: str) -> bool:
        """Tell whether a link leads to a folder, wherever that is."""
        try:
            parent, _, last = name.rpartition("/")
            return self._enter(parent) and stat.S_ISDIR(os.stat(last, dir_fd=self._folder).st_mode)
        except OSError:
            return False

    def _list(self, below: str, above: tuple[_Inode, ...]) -> tuple[list[Entry], tuple[_Inode, ...]]:
        """Return what lies in a folder, and where links are followed the folders above it and itself."""
        name = below.removesuffix("/")
        if below.count("/") > _DEEPEST:
            return [Entry(name, 0, f"lies more than {_DEEPEST} folders deep; move it up")], above
        try:
            if not self._enter(name):
                return [Entry(name, 0, "was exchanged for a link while it was read; deliver it again")], above
            if self._links:
                inode = _inode_of(self._folder)
                if inode in above:
                    return [Entry(name, 0, "is a link that leads round in a circle; remove it")], above
                above = (*above, inode)
            with os.scandir(self._folder) as found:
                return [_look_at(entry, below) for entry in found if not entry.name.startswith(".")], above
        except OSError as error:
            reason = f"is a folder that cannot be read ({error.strerror}); mend its permissions"
            return [Entry(name or ".", 0, reason)], above

    def _enter(self, name: str) -> bool:
        """Open a folder and keep it for the next call; tell whether that went without links."""
        if name == self._name:
            return True
        folder = os.open(name or ".", _FOLDER, dir_fd=self._root) if self._links else os.dup(self._root)
        try:
            for part in filter(None, "" if self._links else name.split("/")):
                if part == ".." or _kind_of(part, folder) == stat.S_IFLNK:
                    os.close(folder)
                    return False
                folder, above = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=folder), folder
                os.close(above)
        except OSError:
            os.close(folder)
            raise
        if self._folder != self._root:
            os.close(self._folder)
        self._name, self._folder = name, folder
        return True

    def _open_by_links(self, name: str) -> int:
        trail, pending, n_links = [os.dup(self._root)], name.split("/")[::-1], 0
        try:
            while pending:
                part = pending.pop()
                if part == "..":
                    os.close(trail.pop())
                    if not trail:
                        raise self._leads_out()
                elif part not in ("", "."):
                    kind = _kind_of(part, trail[-1])
                    if kind == stat.S_IFLNK:
                        n_links += 1
                        if n_links > _MOST_LINKS:
                            raise DataError("is a link that leads round in a circle; copy the file instead")
                        target = os.readlink(part, dir_fd=trail[-1])
                        if target.startswith("/"):
                            target = self._below_root(target)
                            trail = _back_to_first(trail)
                        pending += target.split("/")[::-1]
                    elif not pending:
                        return _open_file(part, trail[-1], kind)
                    else:
                        trail.append(os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=trail[-1]))
            raise DataError(self._folder_refusal())
        finally:
            for descriptor in trail:
                os.close(descriptor)

    def _below_root(self, target: str) -> str:
        """Return an absolute path as one from the folder; it is walked from there, whatever it is by then."""
        root, real = os.path.realpath(self._path), os.path.realpath(target)
        if os.path.commonpath([root, real]) != root:
            raise self._leads_out()
        return os.path.relpath(real, root)

    def _close(self) -> None:
        if self._folder != self._root:
            os.close(self._folder)
        os.close(self._root)


def _look_at(entry: "os.DirEntry[str]", below: str) -> Entry:
    name = below + entry.name
    try:
        # Most entries by far are files, and the system told so when it listed them.
        kind = stat.S_IFREG if entry.is_file(follow_symlinks=False) else entry.stat(follow_symlinks=False).st_mode
    except OSError as error:
        return Entry(name, 0, cannot_be_read(error))
    return Entry(name, stat.S_IFMT(kind))


def _kind_of(name: str, folder: int) -> int:
    return stat.S_IFMT(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)


def _inode_of(folder: int) -> _Inode:
    status = os.fstat(folder)
    return status.st_dev, status.st_ino


def _open_file(name: str, folder: int, kind: int, flags: int = _FILE) -> int:
    if kind == stat.S_IFREG:
        descriptor = os.open(name, flags, dir_fd=folder)
        kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
        if kind == stat.S_IFREG:
            return descriptor
        os.close(descriptor)  # it took the place of the file just now
    raise DataError(not_a_file(kind))


def not_a_file(kind: int) -> str:
    """Return the reason why an entry of some kind is refused."""
    return f"is {SPECIAL.get(kind, 'special')}, no file; remove it"


def cannot_be_read(error: OSError) -> str:
    """Return the reason why an entry that the system does not let us read is refused."""
    if isinstance(error, FileNotFoundError):
        return "leads nowhere or vanished while it was read; deliver it again"
    return f"cannot be read ({error.strerror or error}); mend its permissions or deliver it again"


def _back_to_first(trail: list[int]) -> list[int]:
    for descriptor in trail[1:]:
        os.close(descriptor)
    return trail[:1]
