"""A source in several files: a folder of them, or a brace pattern."""

import math
import os
import re
from itertools import product
from pathlib import Path

from pipeline.config.sources import SOURCES
from pipeline.core.errors import DataError
from pipeline.datasets.files.location import is_url

_RANGE = re.compile(r"\{(\d{1,9})\.\.(\d{1,9})\}")
_MOST_SHARDS = 100_000


def is_pattern(location: str) -> bool:
    """Tell whether the last name of a path or URL stands for several, as ``shards-{0000..0099}.tar`` does."""
    return _RANGE.search(location.rpartition("/")[2]) is not None


def list_shards(location: str, source: str) -> list[str]:
    """Return the files of a source, in order.

    Args:
        location: a file or URL, a pattern of some, or a folder.
        source: its kind, which says how the files in a folder end.

    Raises:
        DataError: a folder holds no such files, or a pattern stands for none or too many.
    """
    if is_pattern(location):
        return _expand(location)
    if is_url(location) or not Path(location).is_dir():
        return [location]
    suffixes = SOURCES[source].suffixes
    names = [name for name in os.listdir(location) if name.lower().endswith(suffixes)]  # noqa: PTH208 - names alone
    found = [f"{location.rstrip('/')}/{name}" for name in sorted(names) if not name.startswith(".")]
    if not found:
        raise DataError(f"{location} must hold files that end in {' or '.join(suffixes)}, got none; correct the path")
    return found


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
