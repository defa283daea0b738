"""Damage that leaves a file readable: checksums inside records, digests of whole files."""

import hashlib
import json
from pathlib import Path
from typing import Any

import xxhash

from pipeline.core.errors import DataError
from pipeline.core.storage import atomic_file, read_json, write_json

_CHECKSUM = "checksum"


def seal(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record with a checksum of everything else in it."""
    bare = {key: value for key, value in record.items() if key != _CHECKSUM}
    return {**bare, _CHECKSUM: _checksum(bare)}


def is_sealed(record: dict[str, Any]) -> bool:
    """Tell whether a record has a checksum: earlier releases wrote none."""
    return bool(record.get(_CHECKSUM))


def require_intact(record: Any, name: str) -> dict[str, Any]:
    """Return a record that says what it said when it was sealed; one without a checksum passes.

    Args:
        record: as parsed from JSON.
        name: of its file.

    Raises:
        DataError: it is no object, or differs from what was sealed.
    """
    if not isinstance(record, dict):
        raise DataError(f"{name} must hold a JSON object, got {type(record).__name__}; run facets check --repair")
    if is_sealed(record) and seal(record)[_CHECKSUM] != record[_CHECKSUM]:
        raise DataError(f"{name} must match its checksum, but was changed or damaged; run facets check --repair")
    return record


def write_sealed(path: Path, record: dict[str, Any]) -> None:
    """Write a record with its checksum, atomically."""
    write_json(path, seal(record))


def read_sealed(path: Path) -> dict[str, Any]:
    """Read a record.

    Raises:
        DataError: it is missing, no JSON, or not what was sealed.
    """
    return require_intact(read_json(path), str(path))


def file_digest(path: Path) -> str:
    """Return the 128-bit XXH3 of a file's bytes, 32 hex digits: against accidents, at the speed of the disk."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()  # pyright: ignore[reportArgumentType]


def copy_bytes(source: Path, target: Path) -> None:
    """Put a copy of a file in place that shares no block of the disk with it, atomically."""
    with atomic_file(target) as temporary:
        # Not by shutil, which may only have the file system refer to the same blocks.
        temporary.write_bytes(source.read_bytes())


def _checksum(record: dict[str, Any]) -> str:
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return xxhash.xxh3_128_hexdigest(text.encode("utf-8", "surrogatepass"))
