"""Where published tables are read from: a repository or a share, a folder or a URL."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.core.errors import DataError
from pipeline.core.storage import read_json
from pipeline.sharing.records import HEAD, Listing
from pipeline.sharing.store import Store

REPAIR = "run facets check --repair"

_ADVICE = re.compile(r"run (the stage that writes it, or )?facets check --repair")

_SOME_DAY = datetime(2000, 1, 1, tzinfo=UTC)


def due(location: Path | str) -> str:
    """Return what to do where no tables are published.

    Args:
        location: folder ``published/<experiment>``, or its URL.
    """
    base, experiment = _split(location)
    if "://" in base or (not Path(base, "params.yaml").exists() and any(Path(base).glob("published/*/blobs"))):
        return f"see that the address is right, or push from where it is published: facets push {experiment} {base}"
    is_shared = Path(base, "data", "shared", f"{experiment}.json").exists()
    return f"run facets {'pull' if is_shared else 'rebuild'} {experiment} first"


def _split(location: Path | str) -> tuple[str, str]:
    """Return the repository, or the address of the share, and the experiment."""
    if "://" in str(location):
        base, _, experiment = str(location).rstrip("/").rpartition("/")
        return base.removesuffix("/published"), experiment
    folder = Path(location).absolute()
    return str(folder.parent.parent), folder.name


class Place:
    """The published tables of one experiment, for reading.

    Of a share it sees what was pushed last when it is made, and nothing later.

    Args:
        location: folder ``published/<experiment>``, or its URL for any protocol that fsspec knows.
        listing: of a share that lies there, where the caller has it.

    Raises:
        DataError: the protocol is unknown, or its driver is not installed; or a share lies there that is damaged, or
            changed in this moment.
        ResourceError: a share cannot be reached.
    """

    def __init__(self, location: Path | str, listing: Listing | None = None) -> None:
        self.location = str(location).rstrip("/")
        self.filesystem: Any = None
        self._blobs = None if listing is None else _published(listing)
        if "://" not in self.location:
            if listing is None and Path(self.location, HEAD).exists():
                from pipeline.sharing.folder import FolderStore

                self._blobs = _pushed(FolderStore(Path(self.location)))
        else:
            # Only here: a local reader need not pay for the import.
            import fsspec

            try:
                self.filesystem, self._inner = fsspec.core.url_to_fs(self.location, skip_instance_cache=True)
            except (ImportError, ValueError) as error:
                raise DataError(
                    f"{self.location} must have a protocol that fsspec can read, but {error}; correct the address, or "
                    "install what is missing"
                ) from None
            # DuckDB asks for dates, which not every protocol has; published files never change, so any date is right.
            self.filesystem.modified = lambda _path: _SOME_DAY
            if listing is None:
                from pipeline.sharing.remote import RemoteStore

                self._blobs = _pushed(RemoteStore(self.location, self.filesystem, self._inner))

    def file(self, relative: str) -> str:
        """Return the full name of a file that a version lists."""
        return f"{self.location}/{self._name(relative)}"

    def local(self, relative: str) -> str:
        """Return the name under which :attr:`filesystem` knows a file; the full name where there is none."""
        return self.file(relative) if self.filesystem is None else f"{self._inner}/{self._name(relative)}"

    def spellings(self, relative: str) -> list[str]:
        """Return all names by which DuckDB may speak of a file: fsspec spells some addresses in a way of its own."""
        if self.filesystem is None:
            return [self.file(relative)]
        return [self.file(relative), self.filesystem.unstrip_protocol(self.local(relative))]

    def json(self, relative: str) -> Any:
        """Read a JSON file.

        Raises:
            DataError: it is missing, cannot be reached or is no JSON.
        """
        if self.filesystem is None:
            return read_json(Path(self.file(relative)))
        try:
            return json.loads(self.filesystem.cat_file(self.local(relative)))
        except (OSError, ValueError) as error:
            raise DataError(f"{self.file(relative)} must be readable JSON, but {error}; check the address") from error

    def fetch(self, relative: str, target: Path) -> None:
        """Copy a file to this machine.

        Raises:
            DataError: it is missing or cannot be reached.
        """
        try:
            self.filesystem.get_file(self.local(relative), str(target))
        except Exception as error:  # every driver of fsspec has classes of its own
            raise DataError(f"{self.file(relative)} must be readable, but {error!r}; check the address") from error

    def exists(self, relative: str) -> bool:
        """Tell whether a file is there; of a share, whether it should be."""
        if self._blobs is not None:
            return relative in self._blobs
        if self.filesystem is None:
            return Path(self.file(relative)).exists()
        return bool(self.filesystem.exists(self.local(relative)))

    def explained(self, error: DataError) -> DataError:
        """Return an error for damage, with the way to mend it that is open where the tables lie."""
        if self._blobs is None:
            return error
        base, experiment = _split(self.location)
        mend = f"facets push {experiment} {base} where it is whole sends it again once it is deleted there"
        return DataError(_ADVICE.sub(lambda _: mend, str(error)))

    def _name(self, relative: str) -> str:
        return relative if self._blobs is None else self._blobs.get(relative, relative)


def _pushed(store: Store) -> Mapping[str, str] | None:
    head, listing, _ = store.current()
    return None if head is None else _published(listing)


def _published(listing: Listing) -> Mapping[str, str]:
    """Return where the published files of a share lie below it."""
    files, folder = listing.files.items(), "published/"
    return {name.removeprefix(folder): f"blobs/{blob.name}" for name, blob in files if name.startswith(folder)}
