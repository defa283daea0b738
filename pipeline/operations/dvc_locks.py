"""What a killed ``dvc`` can leave behind, and how the next run goes on regardless.

Call these only under the repository lock. DVC's own locks are respected: a person may run ``dvc`` by hand.
"""

import fcntl
import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.core.errors import DataError
from pipeline.core.git import ask_git
from pipeline.core.storage import atomic_file, read_json, write_json


def remember_run(root: Path, pid: int, command: Sequence[str]) -> None:
    """Note a DVC process that was started, as DVC itself does in its table of path locks."""
    write_json(_last_run(root), {"pid": pid, "cmd": " ".join(command)})


def clear_stale_locks(root: Path) -> None:
    """Take the entries of the last remembered run out of DVC's table of path locks; remove one that a kill cut short.

    That run is over, or its process would still hold the repository lock: this holds after the machine was booted
    anew, and from another machine that shares the file system. DVC's entries name neither boot nor machine, so those of
    a DVC that a person runs are left to DVC, which drops them where no process has their number.
    """
    folder = root / ".dvc" / "tmp"
    table = folder / "rwlock"
    if not table.exists():
        return
    with (folder / "rwlock.lock").open("a") as guard:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # a running DVC is editing it
        over = _remembered(root)
        try:
            entries = json.loads(table.read_text(encoding="utf-8"))
            held = {
                "write": {path: info for path, info in entries.get("write", {}).items() if _identity(info) != over},
                "read": {
                    path: kept
                    for path, infos in entries.get("read", {}).items()
                    if (kept := [info for info in infos if _identity(info) != over])
                },
            }
        except (ValueError, AttributeError, KeyError, TypeError):
            table.unlink()
            return
        if held != entries:
            table.write_text(json.dumps(held), encoding="utf-8")


def keep_lock_file(root: Path) -> None:
    """Keep a copy of ``dvc.lock`` after a command that succeeded."""
    source = root / "dvc.lock"
    if source.exists():
        with atomic_file(_kept(root)) as temporary:
            shutil.copyfile(source, temporary)


def delete_lock_file(root: Path) -> None:
    """Delete ``dvc.lock`` and its copy, which say nothing any more."""
    _kept(root).unlink(missing_ok=True)
    (root / "dvc.lock").unlink()


def restore_lock_file(root: Path) -> bool:
    """Put an intact ``dvc.lock`` in place of a damaged one; DVC rewrites it in place, so a kill can cut it short.

    Stages that finished after the copy was made come back from DVC's run cache.

    Returns:
        Whether there was one to put in place: the copy, else the committed one.
    """
    text: bytes | None = None
    with suppress(FileNotFoundError):
        text = _kept(root).read_bytes()
    if text is None:
        text = ask_git(root, "show", "HEAD:./dvc.lock")
    if text is None or text == (root / "dvc.lock").read_bytes():
        return False
    with atomic_file(root / "dvc.lock") as temporary:
        temporary.write_bytes(text)
    return True


def _kept(root: Path) -> Path:
    return root / ".work" / "dvc.lock.kept"


def _last_run(root: Path) -> Path:
    return root / ".work" / "dvc.run.json"


def _remembered(root: Path) -> tuple[int, str] | None:
    try:
        return _identity(read_json(_last_run(root)))
    except (DataError, KeyError, TypeError, ValueError):
        return None  # no run was noted, or it was killed while it was being noted


def _identity(info: dict[str, Any]) -> tuple[int, str]:
    return int(info["pid"]), str(info["cmd"])
