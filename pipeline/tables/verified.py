"""Published files are read only as long as their bytes are those that were written.

DuckDB and Arrow decode many a damaged page without complaint, and damaged statistics make them skip rows; so a reader
compares each file's digest first. Which files were found right is remembered in ``.work`` by size, times and inode, so
that a file is read for this once, until something changes it; ``facets check --deep`` does not rely on that memory.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from pipeline.core.errors import DataError
from pipeline.core.sealed import file_digest
from pipeline.table_format.writer import measure
from pipeline.tables.parts import Observer, observed, part_rows, part_schema
from pipeline.tables.place import REPAIR, Place
from pipeline.tables.versions import PartFile

_MEMORY = "verified.txt"
_MAX_LINES = 4
"""Lines of the memory for each file that it knows before it is written anew."""


def require_sound(place: Place, parts: Iterable[PartFile]) -> None:
    """Refuse files that are not what a version lists. Where they lie behind a URL, that store answers for its bytes.

    Raises:
        DataError: a file is missing, damaged or another one.
    """
    if place.filesystem is not None:
        return
    folder = Path(place.location)
    known, n_lines = _recall(folder)
    found: dict[str, str] = {}
    try:
        for part in parts:
            if part.digest:
                mark = _mark(place, part)
                if known.get(part.file) != mark:
                    _require_digest(place, part)
                    found[part.file] = mark
    finally:
        if found:
            _remember(folder, known, found, n_lines)


def is_sound(published: Path, part: PartFile) -> bool:
    """Tell whether a file is there and intact, without the memory of earlier looks."""
    return not fault_of(published, part)


def fault_of(published: Path, part: PartFile, observers: Sequence[Observer] = ()) -> str:
    """Return what is wrong with a file, as one sentence that names it; nothing if all is well.

    Args:
        published: folder of the experiment.
        part: what is known of the file.
        observers: shown all of its rows.
    """
    path = published / part.file
    try:
        content = measure(part_schema(path), observed(part_rows(path), observers))
    except DataError as error:
        return str(error)
    if PartFile(part.file, **asdict(content)) != part:
        return f"{path} must say what it said when it was published, got other rows or columns; {REPAIR}"
    # Damaged statistics leave all rows as they are, but make readers skip some.
    if part.digest and file_digest(path) != part.digest:
        return f"{path} must be the very file that was published, got other bytes; {REPAIR}"
    return ""


def _require_digest(place: Place, part: PartFile) -> None:
    path = Path(place.file(part.file))
    if file_digest(path) != part.digest:
        raise DataError(f"{path} must be as it was published, but was changed or damaged; {REPAIR}")


def _mark(place: Place, part: PartFile) -> str:
    path = Path(place.file(part.file))
    try:
        stat = path.stat()
    except FileNotFoundError:
        raise DataError(f"{path} is missing; {REPAIR}") from None
    return f"{part.digest}:{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ctime_ns}:{stat.st_ino}"


def _recall(folder: Path) -> tuple[dict[str, str], int]:
    """Return what is remembered and in how many lines; what cannot be read is not remembered."""
    try:
        lines = _memory(folder).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}, 0
    pairs = (line.split(" ", 1) for line in lines)
    return {pair[1]: pair[0] for pair in pairs if len(pair) == 2}, len(lines)


def _remember(folder: Path, known: Mapping[str, str], found: Mapping[str, str], n_lines: int) -> None:
    merged = {**known, **found}
    is_long = n_lines + len(found) > _MAX_LINES * len(merged)
    text = "".join(f"{mark} {file}\n" for file, mark in (merged if is_long else found).items())
    # Readers without write access, or with the published files alone, go without the memory.
    path = _memory(folder)
    with suppress(OSError):
        if path.parents[1].is_dir():
            path.parent.mkdir(exist_ok=True)
            with path.open("w" if is_long else "a", encoding="utf-8") as file:
                file.write(f"\n{text}")  # a line that a crash cut off does not swallow the next


def _memory(folder: Path) -> Path:
    return folder.parents[1] / ".work" / folder.name / _MEMORY
