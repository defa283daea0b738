"""Resume files: what a killed run needs to go on exactly where it was, kept apart from the declared outputs."""

import hashlib
import json
import logging
import pickle
import shutil
from collections.abc import Iterator
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import torch

from pipeline.core.storage import atomic_file, file_sha256

_log = logging.getLogger(__name__)
_PACKAGE = Path(__file__).parent.parent
# What decides a training's numbers: what stage train depends on, without what only reads and writes files.
_CODE = ("kernels", "mixture", "model", "training", "views", "core/hints.py", "core/seeding.py", "core/side_by_side.py")
_SCHEMA = 1  # of the files; as the key covers this module, a file of another schema is found only where somebody put it
# What a damaged archive or pickle may raise.
_UNREADABLE = (OSError, EOFError, RuntimeError, LookupError, TypeError, ValueError, pickle.UnpicklingError)


def resume_key(sections: list[Any], inputs: list[Path]) -> str:
    """Return 12 hex digits over parameters, input files and the code that trains.

    A change in any of them starts anew; the list of seeds is no part, so that adding a seed keeps the others.
    """
    digest = hashlib.sha256()
    for section in sections:
        digest.update(json.dumps(asdict(section) if is_dataclass(section) else section, sort_keys=True).encode())  # pyright: ignore[reportArgumentType]
    for path in inputs:
        digest.update(file_sha256(path).encode())
    for path in _code_files():
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _code_files() -> Iterator[Path]:
    for name in _CODE:
        path = _PACKAGE / name
        yield from [path] if path.suffix else sorted(path.rglob("*.py"))


def save_resume(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values atomically.

    Raises:
        ResourceError: the folder cannot be written or the disk is full; ``path`` is untouched.
    """
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save({"schema": _SCHEMA, **state}, file)
        except RuntimeError as error:
            # torch's writer hides the fault of the disk behind one of its own.
            raise _first_os_error(error) from error


def load_resume(path: Path, device: torch.device) -> dict[str, Any] | None:
    """Return what :func:`save_resume` wrote, or ``None`` where there is no readable file of this schema."""
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except _UNREADABLE:
        return None
    found = state.pop("schema", None)
    if found != _SCHEMA:
        _log.warning("%s must be of schema %d, got %s: the training starts anew", path, _SCHEMA, found)
        return None
    return state


def _first_os_error(error: BaseException) -> BaseException:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__context__
    return cause or error


def remove_resume(work: Path) -> None:
    """Remove a finished stage's folder and those of other keys, which no run can use any more."""
    stage = work.name.rsplit("-", 1)[0]
    for folder in work.parent.glob(f"{stage}-*"):
        shutil.rmtree(folder, ignore_errors=True)
