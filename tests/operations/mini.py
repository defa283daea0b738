"""A git and DVC repository whose stages are shell commands."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from threading import Event

from pipeline.operations.dvc import DvcOutput, run_dvc
from pipeline.operations.locks import repository_lock
from tests.repository import PROJECT


def mini_repository(root: Path, commands: dict[str, str]) -> Path:
    """Make a repository with one stage a command; each depends on ``input`` and writes a file of its name."""
    (root / ".dvc").mkdir(parents=True)
    (root / ".dvc" / "config").write_text((PROJECT / ".dvc" / "config").read_text())
    (root / ".gitignore").write_text("/.work\n/out-*\n/.dvc/tmp\n/.dvc/cache\n/.dvc/site-cache\n")
    (root / "input").write_text("1\n")
    stages = [
        f"  {name}:\n    cmd: {command}\n    deps: [input]\n    outs: [out-{name}]\n"
        for name, command in commands.items()
    ]
    (root / "dvc.yaml").write_text("stages:\n" + "".join(stages))
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    return root


def dvc(root: Path, arguments: Sequence[str], cancel: Event | None = None, lines: list[str] | None = None) -> DvcOutput:
    """Run DVC under the lock; collect its lines in ``lines`` as they come."""
    with repository_lock(root, "test") as held:
        return run_dvc(root, arguments, held, None if lines is None else lines.append, cancel)
