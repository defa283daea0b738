"""``data/sources/<experiment>.json``: what pins the content of a source, so that DVC need not hash the source."""

import gzip
import hashlib
import os
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config.sections import PreprocessParams
from pipeline.datasets.source import Source, open_source
from pipeline.errors import DataError
from pipeline.layout import Layout
from pipeline.storage import atomic_file, read_json, write_json

_LIST_SCHEMA = pa.schema([("path", pa.string()), ("stamp", pa.string()), ("size", pa.int64()), ("sha256", pa.string())])
_SETTLED_SECONDS = 2.0
"""A file changed more recently may change again within one tick of its clock; its hash is not remembered."""

_BLOCK = 2**20


def scan(layout: Layout, params: PreprocessParams) -> dict[str, Any]:
    """Look at the source as it is now and pin it; the JSON is rewritten only where the content has changed.

    Returns:
        What the JSON holds.

    Raises:
        DataError: the source is missing or cannot be fetched.
    """
    source = open_source(params, layout)
    source.fetch()
    value = _describe(layout, params, source)
    if not layout.source_manifest.exists() or read_json(layout.source_manifest) != value:
        write_json(layout.source_manifest, value)
    return value


def require_pinned(layout: Layout, params: PreprocessParams, source: Source) -> None:
    """Check that a fetched source is the one that its JSON pins.

    Raises:
        DataError: it differs; the message names the first difference.
    """
    pinned = read_json(layout.source_manifest)
    found = _describe(layout, params, source)
    if pinned != found:
        key = next(key for key in sorted({*pinned, *found}) if pinned.get(key) != found.get(key))
        raise DataError(
            f"the source must be as {layout.source_manifest} pins it, but {key} is {found.get(key)} instead of "
            f"{pinned.get(key)}; restore the files, or run facets scan {layout.experiment} to accept the new content"
        )


def _describe(layout: Layout, params: PreprocessParams, source: Source) -> dict[str, Any]:
    files = FileHashes(layout.source_manifest.with_suffix(".files.parquet"))
    value = {"source": params.source, **source.fingerprint(files)}
    files.save()
    return value


class FileHashes:
    """Size and SHA-256 of files, remembered beside the JSON by path, size, time of change and inode.

    Args:
        path: of the list (untracked); it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = _read_list(path)
        self._used: dict[str, tuple[str, int, str]] = {}
        self._n_hashed = 0

    def file(self, path: str) -> dict[str, Any]:
        """Return ``{"size", "sha256"}`` of a file's content, of a ``.gz`` after unpacking; URLs are streamed.

        Raises:
            DataError: the file is missing or its gzip is damaged.
        """
        _, size, sha256 = self._entry(path)
        return {"size": size, "sha256": sha256}

    def folder(self, path: str, *, with_parents: bool) -> dict[str, Any]:
        """Return ``{"count", "bytes", "root"}`` of all files below a folder.

        Args:
            path: a local folder.
            with_parents: whether the name of the folder that holds a file counts, as where it is a label. Otherwise
                moving and renaming files changes nothing.

        Raises:
            DataError: there is no such folder.
        """
        root = Path(path)
        if not root.is_dir():
            raise DataError(f"{path} must be a folder of images; mount it or correct preprocess.path")
        lines: list[str] = []
        total = 0
        for file in walk(root):
            _, size, sha256 = self._entry(str(file))
            total += size
            lines.append(f"{sha256} {file.parent.name}" if with_parents else sha256)
        digest = hashlib.sha256("\n".join(sorted(lines)).encode())
        return {"count": len(lines), "bytes": total, "root": digest.hexdigest()}

    def save(self) -> None:
        """Write the list of the files that were asked for, if any had to be hashed."""
        if not self._n_hashed:
            return
        rows = [{"path": p, "stamp": e[0], "size": e[1], "sha256": e[2]} for p, e in sorted(self._used.items())]
        with atomic_file(self._path) as temporary:
            pq.write_table(pa.Table.from_pylist(rows, _LIST_SCHEMA), temporary)

    def _entry(self, path: str) -> tuple[str, int, str]:
        stamp, settled = _stamp(path)
        entry = self._known.get(path)
        if entry is None or entry[0] != stamp:
            size, sha256 = _hash_content(path)
            entry = (stamp, size, sha256)
            self._n_hashed += 1
        self._used[path] = entry if settled else ("", *entry[1:])
        return entry


def walk(root: Path) -> Iterator[Path]:
    """Yield the regular files below a folder in the order of their names; nothing hidden, no links out of it."""
    inside = root.resolve()
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if not name.startswith(".") and path.is_file() and path.resolve().is_relative_to(inside):
                yield path


def _stamp(path: str) -> tuple[str, bool]:
    if "://" in path:
        info = _url_info(path)
        marks = [str(info[key]) for key in ("ETag", "etag", "LastModified", "last_modified", "mtime") if info.get(key)]
        return "/".join([str(info.get("size")), *marks]), bool(marks)
    try:
        stat = Path(path).stat()
    except FileNotFoundError:
        raise DataError(f"{path} is missing; put the file there or correct preprocess.path") from None
    return f"{stat.st_size}/{stat.st_mtime_ns}/{stat.st_ino}", time.time() - stat.st_mtime > _SETTLED_SECONDS


def _url_info(url: str) -> dict[str, Any]:
    from fsspec.core import url_to_fs

    try:
        filesystem, path = url_to_fs(url)
        return filesystem.info(path)
    except (OSError, ImportError, ValueError) as error:
        raise DataError(f"{url} must be readable, but {error}; correct preprocess.path or the access to it") from error


def _hash_content(path: str) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    try:
        with _open_content(path) as file:
            while block := file.read(_BLOCK):
                digest.update(block)
                size += len(block)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} must be a complete gzip file, but {error}; fetch it again") from None
    return size, digest.hexdigest()


def _open_content(path: str) -> Any:
    if "://" in path:
        import fsspec

        remote: Any = fsspec.open(path, "rb")
        return remote.open()
    return gzip.open(path, "rb") if path.endswith(".gz") else Path(path).open("rb")


def _read_list(path: Path) -> dict[str, tuple[str, int, str]]:
    try:
        with pq.ParquetFile(path) as file:  # read_table would import pandas, a second
            columns = file.read(_LIST_SCHEMA.names).to_pydict()
        stamps = zip(columns["stamp"], columns["size"], columns["sha256"], strict=True)
    except (FileNotFoundError, pa.ArrowInvalid, OSError, KeyError):
        return {}  # only a memory of hashes: without it they are computed again
    return dict(zip(columns["path"], stamps, strict=True))
