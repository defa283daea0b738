"""The one place that runs DVC: a command in a process group of its own, watched, logged and ended as a whole."""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from configparser import ConfigParser, ParsingError
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from pipeline.config.stage_code import keep_code_hashes
from pipeline.core.errors import DataError, PipelineError, ResourceError
from pipeline.core.extras import how_to_install
from pipeline.core.supervision import supervised
from pipeline.operations.dvc_locks import clear_stale_locks, keep_lock_file, remember_run, restore_lock_file
from pipeline.operations.locks import HeldLock
from pipeline.operations.process_group import ProcessGroup

_FULL = 2**20  # bytes
TAIL_LINES = 50
"""Last lines of a failed command that its message repeats."""

_DAMAGED_LOCK_FILE = re.compile(r"dvc\.lock' (is invalid|validation failed)")
_HINTS = re.compile(
    r"To track the changes with git, run:|\tgit add .*|To enable auto staging, run:|\tdvc config core\.autostage true"
    r"|Use `dvc push` to send your updates to remote storage\."
)
"""What DVC advises to those who work with DVC; it stays in the log."""

_EXITED = re.compile(r"failed to reproduce '([^']+)'.*exited with (-?\d+)")


@dataclass(frozen=True)
class DvcOutput:
    """What a finished ``dvc`` command printed, and the file that keeps it."""

    lines: tuple[str, ...]
    log: Path


def run_dvc(
    root: Path,
    arguments: Sequence[str],
    held: HeldLock,
    on_line: Callable[[str], None] | None = None,
    cancel: Event | None = None,
    python: str = sys.executable,
) -> DvcOutput:
    """Run ``dvc`` to its end under the repository lock.

    Args:
        root: the repository.
        arguments: of ``dvc``, e.g. ``["repro", "train@digits"]``.
        held: the repository lock; DVC inherits it, so that the lock outlives a killed supervisor as long as DVC works.
        on_line: called with every line of output as it appears, DVC's own hints left out.
        cancel: when set by another thread, the whole process group is ended.
        python: that stages are started by, as :func:`pipeline.operations.stage_server.stage_server` gives one.

    Raises:
        ConfigError: the project is of a release whose DAG was another.
        ResourceError: DVC or git is missing, this is no repository of both, or the command was cancelled or crashed.
        PipelineError: a stage failed deliberately; of the class of the stage's own error, with its message.
    """
    check_repository(root)
    keep_code_hashes(root)
    clear_stale_locks(root)
    output, code = _run(root, arguments, held, on_line, cancel, python)
    if code and any(_DAMAGED_LOCK_FILE.search(line) for line in output.lines) and restore_lock_file(root):
        output, code = _run(root, arguments, held, on_line, cancel, python)
    if code:
        raise _failure(arguments, code, output)
    keep_lock_file(root)
    return output


def query_dvc(root: Path, arguments: Sequence[str], held: HeldLock) -> Any:
    """Return the JSON that a ``dvc`` command prints, e.g. ``["status", "--json"]``.

    Raises:
        as :func:`run_dvc`; DataError where the output is no JSON.
    """
    lines = run_dvc(root, arguments, held).lines
    for line in reversed(lines):
        if line.startswith(("{", "[")):
            try:
                return json.loads(line)
            except json.JSONDecodeError:
                break
    raise DataError(f"dvc {' '.join(arguments)} must print JSON, got {' '.join(lines[-3:])!r}; run it by hand")


def check_repository(root: Path) -> None:
    """Refuse to go on where DVC cannot work.

    Raises:
        ResourceError: ``dvc`` or ``git`` is missing, or ``root`` is not inside a git repository initialised for DVC;
            without git one is enough that DVC knows to be without.
    """
    if _program("dvc") is None:
        raise ResourceError(f"the program dvc is needed, but is not on the path; {how_to_install('train')}")
    if not _does_without_git(root):
        _check_git(root)
    if not (root / ".dvc").is_dir():
        raise ResourceError(f"{root} must be a DVC repository, but has no folder .dvc; restore it or run `dvc init`")


def _check_git(root: Path) -> None:
    if _program("git") is None:
        raise ResourceError(
            "the program git is needed, but is not on the path; install git, or have DVC do without: no_scm = true in "
            "section [core] of .dvc/config"
        )
    if not any((folder / ".git").exists() for folder in (root, *root.parents)):
        raise ResourceError(f"{root} must lie in a git repository, but does not; clone it with git or run `git init`")


def _does_without_git(root: Path) -> bool:
    settings = ConfigParser(strict=False)
    with suppress(ParsingError):
        settings.read([root / ".dvc" / "config", root / ".dvc" / "config.local"], encoding="utf-8")
    return settings.get("core", "no_scm", fallback="").lower() == "true"


def _run(
    root: Path,
    arguments: Sequence[str],
    held: HeldLock,
    on_line: Callable[[str], None] | None,
    cancel: Event | None,
    python: str,
) -> tuple[DvcOutput, int]:
    folder = root / ".work" / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"dvc-{arguments[0]}.log"
    if log.exists():
        log.replace(log.with_suffix(".log.1"))
    command = [str(_program("dvc")), *arguments]
    lines: list[str] = []
    with log.open("w", encoding="utf-8") as file:

        def keep(line: str) -> None:
            lines.append(line)
            print(line, file=file, flush=True)
            if on_line is not None and not _HINTS.fullmatch(line):
                on_line(line)

        environment = {**dvc_environment(root), "FACETS_PYTHON": python}  # for stages/run
        with ProcessGroup(command, root, environment, pass_fds=(held.descriptor,)) as group:
            remember_run(root, group.pid, command)
            code = group.stream(keep, cancel)
    if cancel is not None and cancel.is_set():
        raise ResourceError(f"dvc {' '.join(arguments)} was cancelled; run it again to go on where it stopped")
    return DvcOutput(tuple(lines), log), code


def dvc_environment(root: Path) -> dict[str, str]:
    """Return the environment of DVC and of the stages that it starts."""
    site_cache = root.resolve() / ".dvc" / "site-cache"
    site_cache.mkdir(mode=0o700, exist_ok=True)
    return {
        **os.environ,
        "DVC_SITE_CACHE_DIR": str(site_cache),
        "DVC_NO_ANALYTICS": "1",
        "PATH": _path(),
        "PYTHONUNBUFFERED": "1",
        "SHELL": "/bin/sh",  # DVC runs stages by the user's shell, which may be anything
        **supervised(),
    }


def _program(name: str) -> str | None:
    return shutil.which(name, path=_path())


def _path() -> str:
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def _failure(arguments: Sequence[str], code: int, output: DvcOutput) -> PipelineError:
    """Return the error of a failed command: that of the stage where it failed deliberately."""
    match = next((found for line in reversed(output.lines) if (found := _EXITED.search(line))), None)
    if match:
        target, status = match[1], int(match[2])
        stage = target.split("@")[0]
        own = next((line for line in reversed(output.lines) if line.startswith(f"{stage}: ")), None)
        kind = next((kind for kind in PipelineError.__subclasses__() if kind.exit_code == status), None)
        if own and kind:
            return kind(f"{target}: {own.removeprefix(f'{stage}: ')}")
        what = f"stage {target} must end with exit code 0, got {status}"
    else:
        what = f"dvc {' '.join(arguments)} must end with exit code 0, got {code}"
    free = shutil.disk_usage(output.log.parent).free
    if free < _FULL:
        # DVC's own databases say "disk I/O error" then.
        what = f"{what}, and only {free / 2**20:.1f} MiB of free disk are left: make room and run again"
    message = f"{what}; its last lines follow, all of them are in {output.log}"
    return ResourceError(message, *output.lines[-TAIL_LINES:])
