"""A share in a folder that several people can reach, such as a mounted disk."""

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pipeline.core.storage import as_resource_error, atomic_file, remove_leftovers
from pipeline.sharing.records import HEAD, Head
from pipeline.sharing.store import Missing, Overtaken, Store, Tag, unreachable


class FolderStore(Store):
    """See :class:`pipeline.sharing.store.Store`.

    Args:
        folder: of the share; made when something is sent.
    """

    def __init__(self, folder: Path) -> None:
        self.place = str(folder)
        self._folder, self._blobs = folder, folder / "blobs"

    def missing_root(self) -> str:
        """Return the folder of the address, in words, if it is missing."""
        root = self._folder.parents[1]
        return "" if root.is_dir() else f"folder {root}"

    def sizes(self) -> Mapping[str, int]:
        """Return all blobs that are there, by name, and their bytes."""
        if not self._blobs.is_dir():
            return {}
        with os.scandir(self._blobs) as entries:
            return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}

    def send(self, source: Path, name: str) -> None:
        """Make a file a blob, whole or not at all."""
        with atomic_file(self._blobs / name) as temporary:
            shutil.copyfile(source, temporary)

    def delete(self, names: Iterable[str]) -> None:
        """Delete blobs, and what killed processes left."""
        with as_resource_error(self._blobs):
            for name in names:
                (self._blobs / name).unlink(missing_ok=True)
            remove_leftovers(self._folder)

    def swap(self, head: Head, tag: Tag) -> None:
        """Write the head under a lock, if it is still the one of ``tag``."""
        with self._locked():
            if self._read_head()[1] != tag:
                raise Overtaken(f"the head of {self.place} was written by somebody else meanwhile")
            with atomic_file(self._folder / HEAD) as temporary:
                temporary.write_bytes(head.dump())

    def _read_head(self) -> tuple[bytes | None, Tag]:
        try:
            data = (self._folder / HEAD).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None, None
        return data, data.decode("utf-8", "replace")

    def _read(self, name: str) -> bytes:
        try:
            return (self._blobs / name).read_bytes()
        except FileNotFoundError:
            raise Missing(f"{self._blobs / name} is missing; push again from where it is whole") from None

    def _get(self, name: str, target: Path) -> None:
        try:
            shutil.copyfile(self._blobs / name, target)
        except FileNotFoundError:
            raise Missing(f"{self._blobs / name} is missing; push again from where it is whole") from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with as_resource_error(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._folder / "head.lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        except OSError as error:
            raise unreachable(self.place, f"its file system has no locks ({error.strerror})") from error
        finally:
            os.close(descriptor)
