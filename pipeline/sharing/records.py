"""The two records of a share: its head, and the listing that the head names."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import PurePosixPath

from pipeline.core.errors import DataError
from pipeline.core.sealed import is_sealed, require_intact, seal
from pipeline.core.upgrades import SHARE_HEAD, SHARE_LISTING

HEAD = "head.json"

_BLOB = re.compile(r"([0-9a-f]{64})-(\d{1,18})")


@dataclass(frozen=True)
class Blob:
    """One file of a share.

    A blob that was sent on top of head n bears that number. Whoever makes head n + 1 deletes what it does not list, up
    to number n; so nothing is deleted that somebody else sends on top of head n + 1 meanwhile.

    Attributes:
        sha256: of its bytes, 64 hex digits.
        base: number of the head on top of which it was sent; 0 before the first one.
        size: bytes.
    """

    sha256: str
    base: int
    size: int

    @property
    def name(self) -> str:
        """Its name in ``blobs/``."""
        return f"{self.sha256}-{self.base}"

    @staticmethod
    def base_of(name: str) -> int | None:
        """Return the number in a blob's name; None for another file."""
        found = _BLOB.fullmatch(name)
        return None if found is None else int(found[2])


@dataclass(frozen=True)
class Head:
    """What a share is at a moment.

    Attributes:
        number: one higher than that of the head before; the first is 1.
        listing: name of the blob that lists the files.
        version: the current version of the published tables.
        state: what tells that version from another one of its number.
        pushed: when, ISO 8601 in UTC.
        by: who, as ``user@machine``.
    """

    number: int
    listing: str
    version: int
    state: str
    pushed: str
    by: str

    def dump(self) -> bytes:
        """Return the bytes of ``head.json``."""
        return _dump(seal(SHARE_HEAD.stamp(asdict(self))))

    @classmethod
    def parse(cls, data: bytes, name: str) -> "Head":
        """Return what ``head.json`` says.

        Raises:
            DataError: it is damaged.
            ResourceError: a newer release wrote it.
        """
        try:
            stored = require_intact(json.loads(data), name)
            if not is_sealed(stored):
                raise KeyError("checksum")
            record = SHARE_HEAD.upgrade(stored, name)
            return cls(**{key.name: record[key.name] for key in fields(cls)})
        except (DataError, ValueError, KeyError, TypeError):
            raise DataError(
                f"{name} must be the head of a share, but is damaged or something else; facets push "
                f"{PurePosixPath(name).parent.name} --replace where the tables are writes it anew, or correct the "
                "address"
            ) from None


@dataclass(frozen=True)
class Listing:
    """Which blob each file of a repository is.

    Attributes:
        files: from names such as ``published/manifest.json`` to blobs.
    """

    files: Mapping[str, Blob]

    @cached_property
    def blobs(self) -> Mapping[str, Blob]:
        """All blobs, by name."""
        return {blob.name: blob for blob in self.files.values()}

    def dump(self) -> bytes:
        """Return the bytes of the blob that this listing is."""
        files = {name: [blob.sha256, blob.base, blob.size] for name, blob in sorted(self.files.items())}
        return _dump(SHARE_LISTING.stamp({"files": files}))

    @classmethod
    def parse(cls, data: bytes, name: str) -> "Listing":
        """Return what a listing says.

        Raises:
            DataError: it is damaged, or names a file outside of where an experiment's files lie.
            ResourceError: a newer release wrote it.
        """
        try:
            record = SHARE_LISTING.upgrade(json.loads(data), name)
            files = {file: Blob(str(sha), int(base), int(size)) for file, (sha, base, size) in record["files"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{name} must list the files of a share, but {error!r}; correct the address") from None
        for file, blob in files.items():
            parts = PurePosixPath(file).parts
            is_plain = (
                "/".join(parts) == file and len(parts) > 1 and not any(part.startswith((".", "/")) for part in parts)
            )
            if not is_plain or _BLOB.fullmatch(blob.name) is None:
                raise DataError(f"{name} must list files of an experiment, got {file!r}; pull from nobody else's share")
        return cls(files)


def _dump(record: object) -> bytes:
    return json.dumps(record, indent=0, sort_keys=True, ensure_ascii=False).encode()
