"""What git knows of a project; where there is no git, it knows nothing."""

import subprocess
from pathlib import Path


def ask_git(folder: Path, *arguments: str) -> bytes | None:
    """Return what a ``git`` command prints; None where it fails, the folder is in no repository or git is missing."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None
