"""The drop folder ``data/inbox/<exp>/``: which deliveries are complete, and where they go when they are done.

Every folder and every array file in it is a delivery; loose image files make one together. A delivery is complete at
its marker (``.complete`` in a folder, ``NAME.complete`` beside a file) or once nothing about it has changed for
``ingest.quiet_seconds``. Names that start with a dot, or end as browsers and copy programs name unfinished files, are
not looked at, and a folder that holds such a file is not complete. What was read moves to ``done/``, what could not be
used to ``rejected/`` with a file that says why.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pipeline.errors import DataError
from pipeline.layout import Layout

MARKER = ".complete"
DONE, REJECTED = "done", "rejected"

_UNFINISHED = (".tmp", ".part", ".partial", ".filepart", ".crdownload", "~")
_ARRAYS = {".npy", ".npz", ".h5", ".hdf5", ".parquet"}

Signature = tuple[tuple[str, int, int, int], ...]


@dataclass
class InboxWatch:
    """Remembers since when each delivery has looked as it does; ask it again and again.

    It compares what it saw, not clocks, so the times of files on other machines' disks do not matter.

    Attributes:
        layout: of the experiment.
        quiet_seconds: for how long nothing may have changed.
    """

    layout: Layout
    quiet_seconds: float
    _seen: dict[Path, tuple[Signature, float]] = field(default_factory=dict)

    def complete(self, now: float) -> list[Path]:
        """Return the deliveries that are complete, oldest name first.

        Args:
            now: seconds on a clock that never jumps, such as ``time.monotonic()``.
        """
        deliveries, loose = self._entries()
        seen = {path: self._since(path, _signature(path), now) for path in deliveries}
        ready = [path for path in deliveries if self._is_ready(path, *seen[path], now)]
        if loose:
            seen[self.layout.inbox] = self._since(self.layout.inbox, _signatures(loose), now)
            if now - seen[self.layout.inbox][1] >= self.quiet_seconds:
                ready.append(_gather(self.layout.inbox, loose))
        self._seen = seen
        return sorted(ready)

    def _entries(self) -> tuple[list[Path], list[Path]]:
        deliveries: list[Path] = []
        loose: list[Path] = []
        if self.layout.inbox.is_dir():
            for path in sorted(self.layout.inbox.iterdir()):
                if path.name in (DONE, REJECTED) or path.name.startswith(".") or path.name.endswith(MARKER):
                    continue
                if _is_unfinished(path.name):
                    continue
                is_delivery = path.is_symlink() or path.is_dir() or path.suffix.lower() in _ARRAYS
                (deliveries if is_delivery else loose).append(path)
        return deliveries, loose

    def _since(self, path: Path, signature: Signature, now: float) -> tuple[Signature, float]:
        known = self._seen.get(path)
        return known if known is not None and known[0] == signature else (signature, now)

    def _is_ready(self, path: Path, signature: Signature, since: float, now: float) -> bool:
        if _marker(path).exists():
            return True
        unfinished = any(_is_unfinished(name) for name, *_ in signature)
        return bool(signature) and not unfinished and now - since >= self.quiet_seconds


def finish_delivery(layout: Layout, delivery: Path, rejected: Iterable[str] = ()) -> Path:
    """Move a delivery out of the way and return where it lies now.

    Args:
        layout: of the experiment.
        delivery: folder or file in the inbox.
        rejected: why it could not be used, line by line; nothing if it could.
    """
    reasons = list(rejected)
    folder = layout.inbox / (REJECTED if reasons else DONE)
    folder.mkdir(parents=True, exist_ok=True)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    target = folder / f"{stamp}-{delivery.name}"
    if reasons:
        # Before the move: a rejected delivery without its reason would be of little use.
        target.with_name(f"{target.name}.reason.txt").write_text("\n".join(reasons) + "\n", encoding="utf-8")
    delivery.rename(target)
    if not target.is_dir():
        _marker(delivery).unlink(missing_ok=True)
    return target


def require_delivery(layout: Layout, name: str) -> Path:
    """Return a delivery of the inbox by its name.

    Raises:
        DataError: it is none of the inbox, not there (any more), or a link.
    """
    delivery = layout.inbox / name
    if delivery.parent != layout.inbox or name in ("", ".", "..", DONE, REJECTED):
        raise DataError(f"a delivery must lie directly in {layout.inbox}, got {name!r}; move it there")
    if delivery.is_symlink():
        raise DataError(f"{delivery} is a link; copy the delivery itself into the inbox")
    if not delivery.exists():
        raise DataError(f"{delivery} is missing; it was moved or read already")
    return delivery


def _gather(inbox: Path, loose: list[Path]) -> Path:
    """Move loose files into a folder of their own, complete as it is."""
    folder = inbox / f"files-{datetime.now(UTC).strftime('%Y%m%dT%H%M%S%f')}"
    folder.mkdir()
    for path in loose:
        path.rename(folder / path.name)
    (folder / MARKER).touch()
    return folder


def _marker(path: Path) -> Path:
    return path / MARKER if path.is_dir() else path.with_name(path.name + MARKER)


def _is_unfinished(name: str) -> bool:
    return name.lower().endswith(_UNFINISHED)


def _signature(path: Path) -> Signature:
    """Return names, sizes and times of everything in a delivery."""
    if path.is_symlink() or not path.is_dir():
        return _signatures([path])
    files = [Path(folder, name) for folder, _, names in os.walk(path) for name in names if name != MARKER]
    return _signatures(files)


def _signatures(files: Iterable[Path]) -> Signature:
    found: list[tuple[str, int, int, int]] = []
    for file in sorted(files):
        try:
            stat = file.lstat()
        except FileNotFoundError:
            continue  # just renamed: the next look will see what became of it
        # The time of the last change of the inode cannot be set back, as copy programs do with that of the content.
        found.append((str(file), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
    return tuple(found)
