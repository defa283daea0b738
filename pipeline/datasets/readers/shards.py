"""A source in several files: a folder of them, or a brace pattern."""

import math
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

from pipeline.config.sources import SOURCES, source_of_file
from pipeline.core.errors import DataError
from pipeline.datasets.files.beneath import Beneath, Entry, Root
from pipeline.datasets.files.location import is_url, storable, unreadable
from pipeline.datasets.readers.listing import is_meant, no_file

_RANGE = re.compile(r"\{(\d{1,9})\.\.(\d{1,9})\}")
_MOST_SHARDS = 100_000


def is_pattern(location: str) -> bool:
    """Tell whether the last name of a path or URL stands for several, as ``shards-{0000..0099}.tar`` does."""
    return _RANGE.search(location.rpartition("/")[2]) is not None


class Shard(NamedTuple):
    """One file of a source.

    Attributes:
        name: its last name, or its path below a folder.
        location: path or URL.
    """

    name: str
    location: str


class Shards(NamedTuple):
    """The files of a source.

    Attributes:
        files: in order.
        rejected: (path, reason) of what lies beside them in a folder and is not read.
    """

    files: list[Shard]
    rejected: list[tuple[str, str]]


def list_shards(location: str, source: str) -> Shards:
    """Return the files of a source, in order.

    Of a folder, its own files are read; where it has none, those of its sub-folders.

    Args:
        location: a file or URL, a pattern of some, or a folder.
        source: its kind, which says how the files in a folder end.

    Raises:
        DataError: a folder holds no such files or cannot be read, or a pattern stands for none or too many.
    """
    if is_pattern(location):
        return _at(_expand(location))
    if is_url(location) or not Path(location).is_dir():
        return _at([location])
    suffixes = SOURCES[source].suffixes
    names: list[str] = []
    rejected: list[tuple[str, str]] = []
    try:
        with Beneath(Root(location)) as folder:
            for entry in _entries(folder):
                reason = no_file(folder, entry)
                if reason is None and entry.name.lower().endswith(suffixes):
                    names.append(entry.name)
                else:
                    beside = f"lies in a folder of files that end in {' or '.join(suffixes)}, which alone are read"
                    rejected.append((storable(entry.name), reason or f"{beside}; move it to a folder of its own"))
    except OSError as error:
        raise unreadable(location, error) from None
    own = [name for name in names if "/" not in name]
    if own:
        below = "lies in a sub-folder of a folder that has such files itself, which alone are read; move it to these"
        rejected += [(storable(name), below) for name in names if "/" in name]
    if not names:
        raise DataError(f"{location} must hold files that end in {' or '.join(suffixes)}, got none; correct the path")
    files = [Shard(name, f"{location.rstrip('/')}/{name}") for name in sorted(own or names)]
    return Shards(files, sorted(rejected))


def source_of_folder(location: str, *, links: bool = False) -> str | None:
    """Return which source's shards are all that a folder and those below it hold; None where it is none of these.

    Sidecars, hidden names, and names as ``_SUCCESS`` that other programs leave beside their files, count for nothing.

    Args:
        location: the folder.
        links: whether links are followed, as :class:`Root` has it.

    Raises:
        OSError: it cannot be opened.
    """
    source = None
    with Beneath(Root(location, links=links)) as folder:
        for entry in _entries(folder):
            if no_file(folder, entry) is None:
                kind = source_of_file(entry.name)
                if kind is None or not SOURCES[kind].in_folders or source not in (None, kind):
                    return None
                source = kind
    return source


def _at(locations: list[str]) -> Shards:
    return Shards([Shard(location.rpartition("/")[2], location) for location in locations], [])


def _entries(folder: Beneath) -> Iterator[Entry]:
    """Yield what lies below a folder and is no accompaniment."""
    for entry in folder.walk():
        name = entry.name.rpartition("/")[2]
        is_mark = name.startswith("_") and "." not in name
        if entry.reason is not None or (is_meant(entry.name) and not is_mark):
            yield entry


def _expand(pattern: str) -> list[str]:
    folder, slash, name = pattern.rpartition("/")
    pieces = _RANGE.split(name)  # text, first, last, text, first, last, …, text
    ranges = [(int(first), int(last), len(first)) for first, last in zip(pieces[1::3], pieces[2::3], strict=True)]
    n_shards = math.prod(max(0, last - first + 1) for first, last, _ in ranges)
    if not 1 <= n_shards <= _MOST_SHARDS:
        raise DataError(
            f"{pattern} must stand for 1 to {_MOST_SHARDS} files, got {n_shards}; write it as x-{{0000..0099}}.tar"
        )
    texts = ([f"{number:0{width}}" for number in range(first, last + 1)] for first, last, width in ranges)
    plain = pieces[::3]
    return [
        folder + slash + plain[0] + "".join(number + text for number, text in zip(numbers, plain[1:], strict=True))
        for numbers in product(*texts)
    ]
