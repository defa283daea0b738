"""``data/sources/<experiment>.json``: what pins the content of a source, so that DVC need not hash the source."""

import gzip
import hashlib
import io
import os
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config.sections import PreprocessParams
from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.core.storage import atomic_file, write_json
from pipeline.core.text import count_reasons, set_aside
from pipeline.core.upgrades import SOURCE, read_record
from pipeline.datasets.files.beneath import Beneath, Entry, Root, cannot_be_read
from pipeline.datasets.files.bounds import FILE_BYTES
from pipeline.datasets.files.location import ByteFile, is_url, open_filesystem, open_location, storable, unreadable
from pipeline.datasets.readers.base import Source, open_source
from pipeline.datasets.readers.listing import is_meant, no_file

_LIST_SCHEMA = pa.schema([("path", pa.string()), ("stamp", pa.string()), ("size", pa.int64()), ("sha256", pa.string())])
_SETTLED_SECONDS = 2.0
"""A file changed more recently may change again within one tick of its clock; its hash is not remembered."""

_BLOCK = 2**20


def scan(layout: Layout, params: PreprocessParams, refused: list[tuple[str, str]] | None = None) -> dict[str, Any]:
    """Look at the source as it is now and pin it; the JSON is rewritten only where the content has changed.

    Args:
        layout: of the experiment.
        params: its section ``preprocess``.
        refused: gets (file, reason) of what should be an image in a folder, and is left out or cannot be opened; no
            image is decoded here.

    Returns:
        What the JSON holds.

    Raises:
        DataError: the source is missing, cannot be fetched or is a folder without images.
    """
    refused = [] if refused is None else refused
    source = open_source(params, layout)
    source.fetch()
    value = _describe(layout, params, source, refused)
    with suppress(DataError):  # missing, or damaged and written anew
        if read_record(layout.source_manifest, SOURCE) == value:
            return value
    # Of a folder; one file is opened when it is prepared.
    if "count" in value and source.n_images() <= len(refused):
        reasons = count_reasons(reason for _, reason in refused)
        raise DataError(
            f"{params.path} must hold at least one image, got none ({set_aside(sum(reasons.values()), reasons)}); put "
            "images there, or correct preprocess.path, include or exclude"
        )
    write_json(layout.source_manifest, value)
    return value


def require_pinned(layout: Layout, params: PreprocessParams, source: Source) -> None:
    """Check that a fetched source is the one that its JSON pins.

    Raises:
        DataError: it differs, and the message names the first difference; or the JSON is damaged.
        ResourceError: a newer release wrote the JSON.
    """
    pinned = read_record(layout.source_manifest, SOURCE)
    found = _describe(layout, params, source)
    if pinned != found:
        key = next(key for key in sorted({*pinned, *found}) if pinned.get(key) != found.get(key))
        raise DataError(
            f"the source must be as {layout.source_manifest} pins it, but {key} is {found.get(key)} instead of "
            f"{pinned.get(key)}; restore the files, or run facets scan {layout.experiment} to accept the new content"
        )


def _describe(
    layout: Layout, params: PreprocessParams, source: Source, refused: list[tuple[str, str]] | None = None
) -> dict[str, Any]:
    files = FileHashes(layout.source_manifest.with_suffix(".files.parquet"))
    value = SOURCE.stamp({"source": params.source, **source.fingerprint(files)})
    files.save()
    if refused is not None:
        refused += files.refused
    return value


class FileHashes:
    """Size and SHA-256 of files, remembered beside the JSON by path, size, time of change and inode.

    Args:
        path: of the list (untracked); it need not exist.

    Attributes:
        refused: (file, reason) of what should be an image in a folder, and is left out or could not be opened.
    """

    def __init__(self, path: Path) -> None:
        self.refused: list[tuple[str, str]] = []
        self._path = path
        self._known = _read_list(path)
        self._used: dict[str, tuple[str, int, str]] = {}
        self._n_hashed = 0

    def file(self, path: str, within: str | None = None) -> dict[str, Any]:
        """Return ``{"size", "sha256"}`` of a file's content, of a ``.gz`` after unpacking; URLs are streamed.

        Args:
            path: local path or URL.
            within: a folder above it that no link may lead out of.

        Raises:
            DataError: the file is missing, leads out or its gzip is damaged.
        """
        _, size, sha256 = self._remembered(path, *_stamp(path, within), lambda: _hash_file(path, within))
        return {"size": size, "sha256": sha256}

    def folder(
        self,
        path: str,
        *,
        with_parents: bool,
        left_out: Callable[[str], str | None] = lambda _: None,
        links: bool | None = None,
    ) -> dict[str, Any]:
        """Return ``{"count", "bytes", "root"}`` of all files below a folder.

        Args:
            path: a local folder.
            with_parents: whether the name of the folder that holds a file counts, as where it is a label. Otherwise
                moving and renaming files changes nothing.
            left_out: returns why a file below the folder does not count; None where it does.
            links: whether links to folders and out of the folder are followed, as :class:`Root` has it.

        Raises:
            DataError: there is no such folder.
        """
        lines: list[str] = []
        total = 0
        try:
            with Beneath(Root(path, links=links)) as root:
                for entry in root.walk():
                    if (reason := left_out(entry.name)) is not None:
                        self._refuse(entry, reason)
                        continue
                    # Unreadable files do not count: once they can be read, the content has changed.
                    try:
                        _, size, sha256 = self._entry_below(root, path, entry)
                    except (OSError, DataError) as error:
                        self._refuse(entry, cannot_be_read(error) if isinstance(error, OSError) else str(error))
                        continue
                    total += size
                    parent = f"{path.rstrip('/')}/{entry.name}".split("/")[-2]
                    lines.append(f"{sha256} {parent}" if with_parents else sha256)
        except (FileNotFoundError, NotADirectoryError):
            raise DataError(f"{path} must be a folder of images; mount it or correct preprocess.path") from None
        except OSError as error:
            raise unreadable(path, error) from None
        digest = hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogateescape"))
        return {"count": len(lines), "bytes": total, "root": digest.hexdigest()}

    def save(self) -> None:
        """Write the list of the files that were asked for, if any had to be hashed."""
        if not self._n_hashed:
            return
        rows = [{"path": p, "stamp": e[0], "size": e[1], "sha256": e[2]} for p, e in sorted(self._used.items())]
        with atomic_file(self._path) as temporary:
            pq.write_table(pa.Table.from_pylist(rows, _LIST_SCHEMA), temporary, write_page_checksum=True)

    def _refuse(self, entry: Entry, reason: str) -> None:
        if entry.reason or is_meant(entry.name):
            self.refused.append((storable(entry.name), reason))

    def _entry_below(self, root: Beneath, path: str, entry: Entry) -> tuple[str, int, str]:
        def hash_it() -> tuple[int, str]:
            with io.FileIO(root.open(entry.name)) as file:
                try:
                    return _hash_content(file, entry.name)
                except DataError:  # no sound gzip, whatever its name says
                    file.seek(0)
                    return _hash_content(file, "")

        if (reason := no_file(root, entry)) is not None:
            raise DataError(reason)
        status = root.stat(entry.name)
        if status.st_size > FILE_BYTES:  # also a hole that would take an hour to hash
            raise DataError(f"has {status.st_size} bytes, more than the {FILE_BYTES} that any image needs; remove it")
        return self._remembered(f"{path.rstrip('/')}/{entry.name}", *_stamp_of(status), hash_it)

    def _remembered(
        self, path: str, stamp: str, settled: bool, hash_it: Callable[[], tuple[int, str]]
    ) -> tuple[str, int, str]:
        path = storable(path)
        entry = self._known.get(path)
        if entry is None or entry[0] != stamp:
            entry = (stamp, *hash_it())
            self._n_hashed += 1
        self._used[path] = entry if settled else ("", *entry[1:])
        return entry


def _stamp(path: str, within: str | None) -> tuple[str, bool]:
    if is_url(path):
        info = _url_info(path)
        marks = [str(info[key]) for key in ("ETag", "etag", "LastModified", "last_modified", "mtime") if info.get(key)]
        return "/".join([str(info.get("size")), *marks]), bool(marks)
    with open_location(path, within) as file:
        return _stamp_of(os.fstat(cast(Any, file).fileno()))


def _stamp_of(status: os.stat_result) -> tuple[str, bool]:
    settled = time.time() - status.st_mtime > _SETTLED_SECONDS
    return f"{status.st_size}/{status.st_mtime_ns}/{status.st_ino}", settled


def _url_info(url: str) -> dict[str, Any]:
    filesystem, path = open_filesystem(url)
    try:
        return filesystem.info(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{url} must be readable, but {error}; correct preprocess.path or the access to it") from error


def _hash_file(path: str, within: str | None) -> tuple[int, str]:
    with open_location(path, within) as file:
        return _hash_content(file, path)


def _hash_content(file: ByteFile, path: str) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    try:
        content = gzip.GzipFile(fileobj=cast(Any, file)) if path.endswith(".gz") and not is_url(path) else file
        while block := content.read(_BLOCK):
            digest.update(block)
            size += len(block)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} must be a complete gzip file, but {error}; fetch it again") from None
    return size, digest.hexdigest()


def _read_list(path: Path) -> dict[str, tuple[str, int, str]]:
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:  # read_table would import pandas, a second
            columns = file.read(_LIST_SCHEMA.names).to_pydict()
        stamps = zip(columns["stamp"], columns["size"], columns["sha256"], strict=True)
    except (FileNotFoundError, pa.ArrowException, OSError, KeyError, ValueError):
        return {}  # only a memory of hashes: without it they are computed again
    return dict(zip(columns["path"], stamps, strict=True))
