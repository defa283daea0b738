"""What a killed ``dvc`` can leave behind, and how the next run goes on regardless.

Call these only under the repository lock. DVC's own locks are respected: a person may run ``dvc`` by hand.
"""

import fcntl
import json
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from pipeline.storage import atomic_file


def clear_stale_locks(root: Path) -> None:
    """Take entries of dead processes out of DVC's table of path locks; remove one that a kill cut short.

    DVC itself only looks whether a pid exists, and pids are used again.
    """
    folder = root / ".dvc" / "tmp"
    table = folder / "rwlock"
    if not table.exists():
        return
    with (folder / "rwlock.lock").open("a") as guard:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # a living DVC is at it
        written = table.stat().st_mtime
        try:
            entries = json.loads(table.read_text(encoding="utf-8"))
            alive = {
                "write": {path: info for path, info in entries.get("write", {}).items() if _holds(info, written)},
                "read": {
                    path: kept
                    for path, infos in entries.get("read", {}).items()
                    if (kept := [info for info in infos if _holds(info, written)])
                },
            }
        except (ValueError, AttributeError, KeyError, TypeError):
            table.unlink()
            return
        if alive != entries:
            table.write_text(json.dumps(alive), encoding="utf-8")


def keep_lock_file(root: Path) -> None:
    """Keep a copy of ``dvc.lock`` after a command that succeeded."""
    source = root / "dvc.lock"
    if source.exists():
        with atomic_file(_kept(root)) as temporary:
            shutil.copyfile(source, temporary)


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
        shown = subprocess.run(["git", "show", "HEAD:./dvc.lock"], cwd=root, capture_output=True, check=False)
        text = shown.stdout if shown.returncode == 0 else None
    if text is None or text == (root / "dvc.lock").read_bytes():
        return False
    with atomic_file(root / "dvc.lock") as temporary:
        temporary.write_bytes(text)
    return True


def _kept(root: Path) -> Path:
    return root / ".work" / "dvc.lock.kept"


def _holds(info: dict[str, Any], written: float) -> bool:
    """Tell whether the process that made an entry still lives; one that started after the entry is another."""
    try:
        return psutil.Process(int(info["pid"])).create_time() <= written
    except psutil.NoSuchProcess:
        return False
