"""A project's files as this release writes them: what would change, shown first, and the change."""

import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.stage_code import is_project
from pipeline.config.upgrade import upgraded
from pipeline.core.errors import BusyError, ConfigError, ResourceError
from pipeline.core.storage import atomic_file
from pipeline.operations.locks import params_lock
from pipeline.operations.project import release_files


@dataclass(frozen=True)
class FileChange:
    """A file that this release writes otherwise.

    Attributes:
        path: below the root.
        before: its content; None where there is no such file.
        after: what it is to hold; lines end by a line feed alone.
    """

    path: str
    before: str | None
    after: str

    @property
    def difference(self) -> str:
        """The change as a unified difference."""
        before = [] if self.before is None else self.before.splitlines(keepends=True)
        lines = difflib.unified_diff(before, self.after.splitlines(keepends=True), self.path, self.path)
        return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def plan_upgrade(root: Path) -> list[FileChange]:
    """Return which files of a project this release writes otherwise, and how; nothing is changed.

    Raises:
        ConfigError: ``params.yaml`` is missing, no text, or breaks a rule that no earlier release had otherwise.
    """
    text = _text(root / "params.yaml")
    if text is None:
        raise ConfigError(f"{root / 'params.yaml'} is missing; run this in the repository's root")
    wanted = {"params.yaml": upgraded(text), **(release_files() if is_project(root) else {})}
    return changed_files(root, wanted.items())


def changed_files(root: Path, wanted: Iterable[tuple[str, str]]) -> list[FileChange]:
    """Return those files of a project that are not as they should be.

    Args:
        root: of the project.
        wanted: path below it and text of each file.

    Raises:
        ConfigError: one of them is no text.
    """
    found = [FileChange(path, _text(root / path), after) for path, after in wanted]
    return [change for change in found if change.before != change.after]


def write_changes(root: Path, changes: Iterable[FileChange]) -> None:
    """Write files as planned, each whole or not at all; a link stays one, and lines end as they did.

    Raises:
        BusyError: a file has changed since, or another process changes ``params.yaml`` all the while.
        ResourceError: a file may not be written.
    """
    with params_lock(root, "upgrade"):
        for change in changes:
            path = Path(os.path.realpath(root / change.path))
            if _text(path) != change.before:
                raise BusyError(f"{path} has changed since the difference was made; run facets upgrade again")
            if change.before is not None and not os.access(path, os.W_OK):
                raise ResourceError(f"{path} must be writable, but is not; whoever may change it must upgrade")
            ends_by_both = change.before is not None and b"\r\n" in path.read_bytes()
            after = change.after.replace("\n", "\r\n") if ends_by_both else change.after
            with atomic_file(path) as temporary:
                temporary.write_bytes(after.encode())


def _text(path: Path) -> str | None:
    """Return the text of a file; lines end by a line feed alone; None where there is none."""
    try:
        return path.read_text(encoding="utf-8")  # which ends lines so
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} must be text in UTF-8, but {error}; restore it from git") from None
