"""Where a share lies. A folder and S3 refuse a second publisher themselves; other stores can only be asked first."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from pipeline.core.errors import ConfigError, DataError, PublishError, ResourceError
from pipeline.core.storage import atomic_file, file_sha256
from pipeline.sharing.records import HEAD, Blob, Head, Listing

Tag = str | None
"""What tells one ``head.json`` from another one; None where there is none."""

_TRIES = 2


class Overtaken(PublishError):
    """Somebody else has written the head meanwhile."""


class Missing(DataError):
    """A blob is gone: another head has come, or the share is damaged."""


class Store(ABC):
    """The share of one experiment.

    Attributes:
        place: its folder or URL.
        refuses_second: whether the store itself refuses a head on top of another one than expected, at any moment.
    """

    place: str
    refuses_second = True

    def head(self) -> tuple[Head | None, Tag]:
        """Return the head, and what :meth:`swap` wants to know of it.

        Raises:
            DataError: it is damaged.
            ResourceError: the store cannot be reached.
        """
        data, tag = self._read_head()
        return (None if data is None else Head.parse(data, f"{self.place}/{HEAD}")), tag

    def current(self) -> tuple[Head | None, Listing, Tag]:
        """Return the head, what it lists, and its tag.

        Raises:
            DataError: one is damaged or missing.
            ResourceError: the store cannot be reached.
        """
        while True:
            head, tag = self.head()
            try:
                return head, Listing({}) if head is None else self._listing(head), tag
            except Missing:
                if self.head()[1] == tag:  # no other head came meanwhile
                    raise

    def salvaged(self) -> tuple[Head | None, Listing, Tag]:
        """Return what :meth:`current` does, for one who writes it anew: what is damaged or missing counts as nothing.

        Raises:
            ResourceError: the store cannot be reached, or a newer release wrote it.
        """
        try:
            return self.current()
        except DataError:
            with suppress(DataError):
                head, tag = self.head()
                return head, Listing({}), tag
            return None, Listing({}), self._read_head()[1]

    def _listing(self, head: Head) -> Listing:
        name = f"{self.place}/blobs/{head.listing}"
        try:
            data = self._read(head.listing)
        except Missing:
            raise Missing(f"{name} lists what is shared, but is missing; push again with --replace") from None
        if hashlib.sha256(data).hexdigest() != head.listing.partition("-")[0]:
            raise DataError(f"{name} must be as it was sent, but was changed or damaged; push again with --replace")
        return Listing.parse(data, name)

    def fetch(self, blob: Blob, target: Path, file: str) -> None:
        """Put a blob into a file, whole or not at all; a damaged one is fetched again.

        Args:
            blob: which one.
            target: of the bytes.
            file: what the blob is, for messages.

        Raises:
            Missing: it is gone.
            DataError: it is damaged.
        """
        for _ in range(_TRIES):
            with suppress(_Damaged), atomic_file(target) as temporary:
                self._get(blob.name, temporary)
                if file_sha256(temporary) != blob.sha256:
                    raise _Damaged
                return
        raise DataError(
            f"{self.place}/blobs/{blob.name}, which is {file}, must have the bytes that its name tells, but was "
            "changed or damaged; delete it there and run facets push where the file is whole"
        )

    @abstractmethod
    def missing_root(self) -> str:
        """Return the folder or bucket that all lies in, in words, if it is surely missing; else nothing."""

    @abstractmethod
    def sizes(self) -> Mapping[str, int]:
        """Return all blobs that are there, by name, and their bytes."""

    @abstractmethod
    def send(self, source: Path, name: str) -> None:
        """Make a file a blob, whole or not at all."""

    @abstractmethod
    def delete(self, names: Iterable[str]) -> None:
        """Delete blobs; those that are gone already are no fault."""

    @abstractmethod
    def swap(self, head: Head, tag: Tag) -> None:
        """Write the head, if it is still the one of ``tag``.

        Raises:
            Overtaken: it is not.
        """

    @abstractmethod
    def _read_head(self) -> tuple[bytes | None, Tag]:
        """Return bytes and tag of the head; None where there is none."""

    @abstractmethod
    def _read(self, name: str) -> bytes:
        """Return the bytes of a blob; :class:`Missing` where it is gone."""

    @abstractmethod
    def _get(self, name: str, target: Path) -> None:
        """Write a blob to a file; :class:`Missing` where it is gone."""


def open_store(address: str, experiment: str, *, write: bool = False) -> Store:
    """Return the share of an experiment.

    Args:
        address: absolute path of a folder, or a URL that fsspec knows.
        experiment: its name.
        write: whether something is to be sent there.

    Raises:
        ConfigError: nothing can be sent there, or a repository lies there.
        ResourceError: a driver is missing, or the store cannot be reached.
    """
    if "://" not in address:
        from pipeline.sharing.folder import FolderStore

        root = Path(address)
        if (root / "params.yaml").exists() or (root / "published" / experiment / "manifest.json").exists():
            raise ConfigError(
                f"a share must be a folder of its own, got {root}, where a repository lies; name another one"
            )
        return FolderStore(root / "published" / experiment)
    if write and address.startswith(("http://", "https://")):
        raise ConfigError(
            f"a share is read by HTTP, but nothing can be sent to {address}; name the folder or bucket behind it: "
            f"facets push {experiment} ADDRESS"
        )
    from pipeline.sharing.remote import RemoteStore, open_filesystem

    filesystem, path = open_filesystem(f"{address.rstrip('/')}/published/{experiment}")
    return RemoteStore(f"{address.rstrip('/')}/published/{experiment}", filesystem, path)


class _Damaged(Exception):
    """Leaves a file that is not to be kept."""


def unreachable(place: str, reason: str) -> ResourceError:
    """Return the error for a store that does not do what it is asked."""
    return ResourceError(f"{place} must be within reach, but {reason}; mend access to it and run again")
