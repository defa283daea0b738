"""What DVC says of stages that it found fresh before, told by the state of files: to start it takes most of a second.

What counts is what DVC itself judges by: the DAG, the lock file and all parameters by their content; every input and
output that the lock file names by size, inode and times of change, as DVC knows a file again whose hash it has. Nothing
else is ever told without DVC: a stale stage, or one that never ran, has it asked.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.config.lock_file import locked_paths
from pipeline.config.stage_code import keep_code_hashes
from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.core.storage import read_json, write_json
from pipeline.operations.dvc import check_repository, query_dvc
from pipeline.operations.locks import HeldLock

_READ = ("dvc.yaml", "dvc.lock", "params.yaml", ".dvcignore", ".dvc/config", ".dvc/config.local")
"""By content, as a checkout by git gives files other times."""


def dvc_status(layout: Layout, targets: Sequence[str], held: HeldLock) -> dict[str, Any]:
    """Return what ``dvc status --json`` says of an experiment's stages: nothing of one that is fresh.

    Raises:
        as :func:`pipeline.operations.dvc.run_dvc`.
    """
    check_repository(layout.root)
    keep_code_hashes(layout.root)  # a parameter of every stage where the library lies elsewhere
    kept = layout.workspace / "fresh.json"
    with suppress(DataError, KeyError, TypeError):  # a damaged memory counts as none
        known = read_json(kept)
        if known["state"] == _state(layout.root, targets, known["paths"]):
            return {}
    paths: list[str] = []
    with suppress(DataError):  # DVC says what is wrong with a damaged lock file, or restores it
        paths = locked_paths(layout.root, layout.experiment)
    state = _state(layout.root, targets, paths)  # before DVC looks: what changes meanwhile is not known
    stale = query_dvc(layout.root, ["status", "--json", *targets], held)
    if paths and not stale:
        write_json(kept, {"state": state, "paths": paths})
    return stale


def _state(root: Path, targets: Sequence[str], paths: Sequence[str]) -> str:
    digest = hashlib.sha256("\n".join(targets).encode())
    for name in _READ:
        path = root / name
        digest.update(f"{name}\n".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest() if path.exists() else b"-")
    for name in paths:
        for path in _files(root / name):
            try:
                found = path.stat()
                state = f"{found.st_size} {found.st_ino} {found.st_mtime_ns} {found.st_ctime_ns}"
            except OSError:  # it is gone, or a file is in the way of its folder
                state = "-"
            digest.update(f"{path} {state}\n".encode())
    return digest.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    """Yield a file, or those below a folder without what ``.dvcignore`` leaves out."""
    if not path.is_dir():
        yield path
        return
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        yield from (Path(folder, name) for name in sorted(files) if not name.endswith(".pyc"))
