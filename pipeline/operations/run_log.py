"""One line a run in ``.work/logs/runs.jsonl``: for people, and to estimate how long stages take; no source of truth."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.core.git import ask_git
from pipeline.core.text import to_json


def log_run(root: Path, operation: str, facts: dict[str, Any]) -> None:
    """Append what an operation did, with the time and the commit it ran at."""
    path = root / ".work" / "logs" / "runs.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    entry = {
        "operation": operation,
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(root),
        **facts,
    }
    with path.open("a+b") as file:
        line = to_json(entry).encode("utf-8", "backslashreplace") + b"\n"
        # A run that was killed may have left half a line.
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        file.write(line if file.read(1) in (b"", b"\n") else b"\n" + line)


def read_runs(root: Path) -> Iterator[dict[str, Any]]:
    """Yield what the log knows of earlier runs, the oldest first; damaged lines are left out."""
    path = root / ".work" / "logs" / "runs.jsonl"
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(json.JSONDecodeError):
                entry = json.loads(line)
                if isinstance(entry, dict):
                    yield entry


def _commit(root: Path) -> str | None:
    shown = ask_git(root, "rev-parse", "HEAD")
    return None if shown is None else shown.decode().strip()
