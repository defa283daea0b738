"""Watching the drop folder ``data/inbox/<exp>/``: which deliveries are complete.

Every folder and every file that is a source by its ending is a delivery; loose image files make one together. A
delivery is complete at its marker (``.complete`` in a folder, ``NAME.complete`` beside a file) or once nothing about it
has changed for ``ingest.quiet_seconds``. Names that start with a dot, or end as browsers and copy programs name
unfinished files, are not looked at, and a folder that holds such a file is not complete. Links, pipes and the like are
rejected at once, and so is what is named as a marker but no file; a marker whose delivery does not come is rejected
after an hour.

A fault of one entry never holds up the others.
"""

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.config.sources import source_of_file
from pipeline.core.errors import DataError, PipelineError, ResourceError
from pipeline.core.layout import Layout
from pipeline.operations.deliveries import (
    DONE,
    MARKER,
    REJECTED,
    finish_delivery,
    is_marked,
    is_ours,
    is_unfinished,
    marked_by,
    not_deliverable,
    note_trouble,
    rename_plainly,
    stamp,
    take_marker,
)

__all__ = ["DONE", "REJECTED", "InboxWatch"]

_DEEPEST = 200
_PATIENCE = 30.0
"""Seconds after which loose files that are quiet do not wait any longer for those that still change."""

_LONELY = 3600.0
"""Seconds after which a marker without its delivery is rejected: a large delivery may take long to arrive."""

Mark = tuple[str, int, int, int]
Signature = tuple[Mark, ...]


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

        Raises:
            ResourceError: the inbox cannot be read.
        """
        before, self._seen = self._seen, {}
        ready: list[Path] = []
        loose: list[Path] = []
        for path, kind in self._entries():
            is_marker = path.name.endswith(MARKER)
            signature = (_partner(path),) if is_marker else _signature(path, kind)
            known = before.get(path)
            since = known[1] if known is not None and known[0] == signature else now
            self._seen[path] = signature, since
            if not_deliverable(kind):
                self._reject(path, not_deliverable(kind), now)
            elif is_marker and kind == stat.S_IFDIR:
                self._reject(path, f"is a folder, but what ends in {MARKER} is a marker; give it another name", now)
            elif is_marker:
                if marked_by(path) is None and self._is_quiet(path, now, max(_LONELY, self.quiet_seconds)):
                    self._reject(path, "marks as complete what is not there; deliver that", now)
            elif kind == stat.S_IFREG and source_of_file(path.name) is None:
                loose.append(path)
            elif self._is_ready(path, now) and (renamed := self._rename(path, kind, now)) is not None:
                ready.append(renamed)
        return sorted(ready + self._gather(loose, now))

    def _entries(self) -> Iterator[tuple[Path, int]]:
        try:
            names = sorted(os.listdir(self.layout.inbox))  # noqa: PTH208 - names alone are wanted
        except FileNotFoundError:
            return
        except OSError as error:
            raise ResourceError(
                f"{self.layout.inbox} must be a folder that can be read, but: {error.strerror}; mend it"
            ) from error
        for name in filter(is_ours, names):
            path = self.layout.inbox / name
            try:
                yield path, stat.S_IFMT(path.lstat().st_mode)
            except FileNotFoundError:
                continue
            except OSError as error:
                note_trouble(self.layout, path, f"cannot be looked at ({error.strerror}); mend it")

    def _is_quiet(self, path: Path, now: float, seconds: float) -> bool:
        return now - self._seen[path][1] >= seconds

    def _is_ready(self, path: Path, now: float) -> bool:
        if is_marked(path):
            return True
        signature, _ = self._seen[path]
        unfinished = any(is_unfinished(name) for name, *_ in signature)
        return bool(signature) and not unfinished and self._is_quiet(path, now, self.quiet_seconds)

    def _reject(self, path: Path, reason: str, now: float) -> None:
        if self._is_quiet(path, now, self.quiet_seconds):
            try:
                finish_delivery(self.layout, path, [f"{path.name} {reason}"])
            except DataError:
                pass  # gone
            except PipelineError as error:
                self._note(path, now, str(error))

    def _rename(self, path: Path, kind: int, now: float) -> Path | None:
        try:
            renamed = rename_plainly(path)
        except OSError as error:
            self._note(path, now, f"cannot be renamed ({error.strerror}); give it another name")
            return None
        if renamed != path:
            self._seen[renamed] = _signature(renamed, kind), self._seen.pop(path)[1]
        return renamed

    def _note(self, path: Path, now: float, reason: str) -> None:
        self._seen[path] = self._seen[path][0], now  # it is quiet again only after a while
        note_trouble(self.layout, path, reason)

    def _gather(self, loose: list[Path], now: float) -> list[Path]:
        """Move loose files that are complete into a folder of their own, complete as it is."""
        quiet = [path for path in loose if is_marked(path) or self._is_quiet(path, now, self.quiet_seconds)]
        if len(quiet) < len(loose):
            patience = max(_PATIENCE, self.quiet_seconds)
            quiet = [path for path in quiet if is_marked(path) or self._is_quiet(path, now, patience)]
        if not quiet:
            return []
        folder = self.layout.inbox / f"files-{stamp()}"
        folder.mkdir()
        for path in quiet:
            try:
                path.rename(folder / path.name)
                take_marker(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                self._note(path, now, f"cannot be moved ({error.strerror}); move it into a folder by hand")
        if not any(folder.iterdir()):
            folder.rmdir()
            return []
        (folder / MARKER).touch()
        return [folder]


def _signature(path: Path, kind: int) -> Signature:
    """Return names, sizes and times of everything in a delivery."""
    if kind != stat.S_IFDIR:
        return tuple(_marks([path.name], path.parent))
    found: list[Mark] = []
    pending = [("", 0)]
    while pending:
        below, depth = pending.pop()
        try:
            with os.scandir(path / below) as listed:
                entries = [entry for entry in listed if entry.name != MARKER]
            folders = {entry.name for entry in entries if entry.is_dir(follow_symlinks=False)}
        except FileNotFoundError:
            continue  # just renamed: the next look will see what became of it
        except OSError as error:
            found.append((below or ".", -(error.errno or errno.EIO), 0, 0))
            continue
        names = [f"{below}{entry.name}" for entry in entries if entry.name not in folders]
        found += _marks(names, path)
        if depth < _DEEPEST:
            pending += [(f"{below}{name}/", depth + 1) for name in folders]
    return tuple(sorted(found))


def _partner(marker: Path) -> Mark:
    """Return what a marker waits for: how long it has been there says nothing while its delivery is there, too."""
    return marker.name, int(marked_by(marker) is not None), 0, 0


def _marks(names: Iterable[str], folder: Path) -> Iterator[Mark]:
    for name in names:
        try:
            status = (folder / name).lstat()
        except FileNotFoundError:
            continue
        except OSError as error:
            yield name, -(error.errno or errno.EIO), 0, 0
            continue
        # The time of the last change of the inode cannot be set back, as copy programs do with that of the content.
        yield name, status.st_size, status.st_mtime_ns, status.st_ctime_ns
