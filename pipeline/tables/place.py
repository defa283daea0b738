"""Where published tables are read from: a folder or a URL."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.core.errors import DataError
from pipeline.core.storage import read_json

_SOME_DAY = datetime(2000, 1, 1, tzinfo=UTC)


class Place:
    """The published tables of one experiment, for reading.

    Args:
        location: folder ``published/<experiment>``, or its URL for any protocol that fsspec knows.

    Raises:
        DataError: the protocol is unknown, or its driver is not installed.
    """

    def __init__(self, location: Path | str) -> None:
        self.location = str(location).rstrip("/")
        self.filesystem: Any = None
        if "://" in self.location:
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

    def file(self, relative: str) -> str:
        """Return the full name of a file that a version lists."""
        return f"{self.location}/{relative}"

    def local(self, relative: str) -> str:
        """Return the name under which :attr:`filesystem` knows a file; the full name where there is none."""
        return self.file(relative) if self.filesystem is None else f"{self._inner}/{relative}"

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
            return read_json(Path(self.location) / relative)
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
        """Tell whether a file is there."""
        if self.filesystem is None:
            return (Path(self.location) / relative).exists()
        return bool(self.filesystem.exists(self.local(relative)))
