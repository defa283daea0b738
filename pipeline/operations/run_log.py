"""One line a run in ``.work/logs/runs.jsonl``: for people, and to estimate how long a stage takes. Never the truth."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.text import to_json


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
    with path.open("a", encoding="utf-8") as file:
        file.write(to_json(entry) + "\n")


def _commit(root: Path) -> str | None:
    shown = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    return shown.stdout.strip() or None
