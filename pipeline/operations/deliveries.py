"""Deliveries of the inbox ``data/inbox/<exp>/``: which may be read and moved, where they go, what hinders them.

Only what :func:`require_delivery` accepts is ever read or moved. What was read moves to ``done/``, what could not be
used to ``rejected/`` with a file that says why. What keeps a delivery in the inbox is noted under
``.work/<exp>/inbox/``, one file a delivery: the one place that knows of it, see :func:`troubles`.
"""

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline.config.sources import suffix_of
from pipeline.core.errors import DataError, ResourceError
from pipeline.core.layout import Layout
from pipeline.core.storage import read_json, write_json
from pipeline.core.text import printable

MARKER = ".complete"
DONE, REJECTED = "done", "rejected"
MOST_CRASHES = 5
"""So many times may reading a delivery end a process by force; memory may be short for a while, but not for ever."""

_UNFINISHED = (".tmp", ".part", ".partial", ".filepart", ".crdownload", "~")
REASON = ".reason.txt"
_MOST_NAME = 255  # bytes, on nearly all file systems


@dataclass(frozen=True)
class Trouble:
    """What keeps a delivery in the inbox.

    Attributes:
        name: of the delivery.
        since: when it was met first, ISO 8601.
        tries: how often.
        crashes: how many of these tries ended a process by force.
        reason: of the last try.
    """

    name: str
    since: str
    tries: int
    crashes: int
    reason: str


def may_be_delivery(name: str) -> bool:
    """Tell whether an entry of this name may be a delivery: it is not hidden, no marker, not named as unfinished."""
    return is_ours(name) and not name.endswith(MARKER)


def is_ours(name: str) -> bool:
    """Tell whether an entry of the inbox concerns us: a delivery or a marker, not hidden, not named as unfinished."""
    is_name = name not in ("", DONE, REJECTED) and "/" not in name and "\0" not in name
    return is_name and not name.startswith(".") and not is_unfinished(name)


def is_unfinished(name: str) -> bool:
    """Tell whether browsers and copy programs name files so that they have not finished."""
    return name.lower().endswith(_UNFINISHED)


def require_delivery(layout: Layout, name: str) -> Path:
    """Return a delivery of the inbox by its name.

    Raises:
        DataError: it cannot be one by its name, is not there (any more), or is neither a folder nor a file.
    """
    if not may_be_delivery(name):
        raise DataError(f"a delivery must lie directly in {layout.inbox}, got {name!r}; move it there")
    delivery = layout.inbox / name
    try:
        kind = stat.S_IFMT(delivery.lstat().st_mode)
    except FileNotFoundError:
        raise DataError(f"{delivery} is missing; it was moved or read already") from None
    except OSError as error:
        raise DataError(f"{delivery} cannot be looked at ({error.strerror}); deliver it under another name") from None
    reason = not_deliverable(kind)
    if reason:
        raise DataError(f"{delivery} {reason}")
    return delivery


def not_deliverable(kind: int) -> str:
    """Return why an entry of some kind (``stat.S_IFMT``) can be no delivery; nothing if it can."""
    if kind == stat.S_IFLNK:
        return "is a link; copy the delivery itself into the inbox"
    return "" if kind in (stat.S_IFDIR, stat.S_IFREG) else "is neither a folder nor a file; remove it"


def finish_delivery(layout: Layout, delivery: Path, rejected: Iterable[str] = ()) -> Path:
    """Move a delivery out of the way and return where it lies now.

    Args:
        layout: of the experiment.
        delivery: folder or file in the inbox, or a marker without one.
        rejected: why it could not be used, line by line; nothing if it could.

    Raises:
        DataError: it is no delivery of this inbox; nothing else is ever moved.
        ResourceError: it cannot be moved.
    """
    if delivery.parent != layout.inbox or not is_ours(delivery.name):
        raise DataError(f"only what lies directly in {layout.inbox} is moved, got {delivery}; move it by hand")
    reasons = list(map(printable, rejected))
    folder = layout.inbox / (REJECTED if reasons else DONE)
    target = folder / _fitting(f"{stamp()}-{printable(delivery.name)}")
    note = _note(layout, delivery)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if reasons:
            # Before the move: a rejected delivery without its reason would be of little use.
            text = "\n".join(naming(target, delivery, reason) for reason in reasons)
            target.with_name(target.name + REASON).write_text(text + "\n", encoding="utf-8")
        delivery.rename(target)
    except OSError as error:
        if reasons and not os.path.lexists(target):
            with suppress(OSError):
                target.with_name(target.name + REASON).unlink(missing_ok=True)
        if isinstance(error, FileNotFoundError):
            raise DataError(f"{delivery} is missing; it was moved or read already") from None
        raise ResourceError(
            f"{delivery} must be movable to {folder}, but: {error.strerror}; mend it or move it by hand"
        ) from error
    with suppress(OSError):  # it has moved, whatever becomes of what was beside it
        take_marker(delivery)
        if note is not None:
            note.unlink(missing_ok=True)
    return target


def naming(target: Path, delivery: Path, reason: str) -> str:
    """Return why a delivery was rejected with the place where it lies since, instead of that where it was read."""
    for place in {str(delivery), str(delivery.parent.resolve() / delivery.name)}:
        reason = reason.replace(printable(place), str(target))
    return reason


def rename_plainly(delivery: Path) -> Path:
    """Rename a delivery whose name holds control characters or is not UTF-8, so that people can read and type it.

    Raises:
        OSError: it cannot be renamed.
    """
    plain = printable(delivery.name)
    if plain == delivery.name:
        return delivery
    suffix = suffix_of(delivery.name) or delivery.suffix  # tells which reader opens it
    suffix = suffix if printable(suffix) == suffix else ""
    target = delivery.with_name(_fitting(plain))
    if os.path.lexists(target) or target.name != plain:
        target = delivery.with_name(f"{_fitting(plain.removesuffix(suffix), 160)}-{stamp()}{suffix}")
    marker = _file_marker(delivery)
    delivery.rename(target)
    with suppress(OSError):
        if _is_file(marker):
            marker.rename(_file_marker(target))
    return target


def is_marked(delivery: Path) -> bool:
    """Tell whether a marker says that a delivery is complete."""
    return _is_file(delivery / MARKER) or _is_file(_file_marker(delivery))


def take_marker(delivery: Path) -> None:
    """Remove the marker beside a delivery that is taken."""
    if _is_file(_file_marker(delivery)):
        _file_marker(delivery).unlink(missing_ok=True)


def marked_by(marker: Path) -> Path | None:
    """Return the delivery that a marker belongs to, if it is there."""
    delivery = marker.with_name(marker.name.removesuffix(MARKER))
    return delivery if os.path.lexists(delivery) else None


def stamp() -> str:
    """Return the time, as names that must differ have it."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")


def note_trouble(layout: Layout, delivery: Path, reason: str, *, crashed: bool = False) -> Trouble:
    """Note what keeps a delivery in the inbox, and return what is known of it now.

    Args:
        layout: of the experiment.
        delivery: in its inbox.
        reason: for people.
        crashed: whether a process that read it was ended by force.
    """
    note = _note(layout, delivery)
    known = None if note is None else _read_note(note)
    trouble = Trouble(
        name=printable(delivery.name),
        since=datetime.now(UTC).isoformat(timespec="seconds") if known is None else known.since,
        tries=1 if known is None else known.tries + 1,
        crashes=int(crashed) + (0 if known is None else known.crashes),
        reason=reason,
    )
    if note is not None:
        write_json(note, asdict(trouble))
    return trouble


def troubles(layout: Layout) -> list[Trouble]:
    """Return what keeps deliveries in the inbox, by name; notes on what is gone meanwhile are deleted."""
    there = {note for path in _entries(layout.inbox) if (note := _note(layout, path)) is not None}
    found: list[Trouble] = []
    for note in _notes(layout).glob("*.json"):
        trouble = _read_note(note)
        if note not in there:
            note.unlink(missing_ok=True)
        elif trouble is not None:
            found.append(trouble)
    return sorted(found, key=lambda trouble: trouble.name)


def _entries(inbox: Path) -> list[Path]:
    try:
        return list(inbox.iterdir())
    except OSError:
        return []


def _notes(layout: Layout) -> Path:
    return layout.root / ".work" / layout.experiment / "inbox"


def _note(layout: Layout, delivery: Path) -> Path | None:
    """Return the note's file; it goes by the inode, so that another delivery of the same name starts anew."""
    try:
        status = delivery.lstat()
    except OSError:
        return None
    return _notes(layout) / f"{status.st_dev:x}-{status.st_ino:x}.json"


def _read_note(note: Path) -> Trouble | None:
    try:
        return Trouble(**read_json(note))
    except (DataError, TypeError):
        return None  # none yet, or damaged: the count starts anew


def _fitting(name: str, most: int = _MOST_NAME - len(REASON)) -> str:
    """Return a name of so many bytes that another ending fits behind it."""
    return name.encode()[:most].decode("utf-8", "ignore")


def _file_marker(delivery: Path) -> Path:
    return delivery.with_name(delivery.name + MARKER)


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False
