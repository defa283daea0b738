"""Outputs of stages against ``dvc.lock``, and what DVC's cache can give back.

DVC compares sizes and times, and hashes only what they call changed; here every byte counts. Its cache is read where it
lies by default; what is not in it cannot be compared file by file, or put back.
"""

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pipeline.config.lock_file import locked_outputs
from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.core.sealed import copy_bytes
from pipeline.core.storage import read_json


def locked_files(layout: Layout, without: Collection[str] = ()) -> dict[Path, str]:
    """Return every file that the stages of an experiment left, and the MD5 that it should have.

    Args:
        layout: of the experiment.
        without: stages that do not count.

    Raises:
        DataError: ``dvc.lock`` is damaged.
    """
    found: dict[Path, str] = {}
    for stage, outputs in _outputs(layout).items():
        for path, md5 in outputs.items() if stage not in without else ():
            if md5.endswith(".dir"):
                found |= {path / entry["relpath"]: entry["md5"] for entry in _listing(layout.root, md5)}
            else:
                found[path] = md5
    return found


def absent_stages(layout: Layout) -> tuple[tuple[str, ...], bool]:
    """Return the stages of which no output is here, and whether these are all.

    DVC deletes all outputs of a stage before it runs, and a clone that nobody has run ``dvc pull`` in has none.

    Raises:
        DataError: ``dvc.lock`` is damaged.
    """
    outputs = _outputs(layout)
    absent = tuple(stage for stage, paths in outputs.items() if not any(path.exists() for path in paths))
    return absent, len(absent) == len(outputs)


def require_locked(layout: Layout, files: Collection[Path]) -> None:
    """Refuse outputs of stages that are not what DVC recorded; what it did not record passes.

    Raises:
        DataError: a file is missing, damaged or another one.
    """
    known = locked_files(layout) if files else {}
    for path in files:
        if path in known and _md5(path) != known[path]:
            raise DataError(
                f"{path} must be as its stage wrote it, but was changed or damaged; run facets check "
                f"{layout.experiment} --repair, or facets rebuild {layout.experiment}"
            )


def output_faults(known: Mapping[Path, str]) -> dict[Path, str]:
    """Return which outputs are not as DVC recorded them: the file, and the rule that it breaks."""
    faults: dict[Path, str] = {}
    for path, md5 in known.items():
        if not path.is_file():
            faults[path] = "is missing"
        elif _md5(path) != md5:
            faults[path] = "must be as dvc.lock states, but was changed or damaged"
    return faults


def restore_output(root: Path, path: Path, md5: str) -> bool:
    """Put a file back from DVC's cache, if it has it whole; tell whether it did."""
    cached = _cached(root, md5)
    if not cached.is_file() or _md5(cached) != md5:
        return False
    copy_bytes(cached, path)
    return True


def _outputs(layout: Layout) -> dict[str, dict[Path, str]]:
    """Return the outputs by stage, without what stage resolve writes: whoever asks what is stale writes it anew."""
    found = {
        stage: {path: md5 for name, md5 in outputs.items() if (path := layout.root / name) != layout.resolved}
        for stage, outputs in locked_outputs(layout.root, layout.experiment).items()
    }
    return {stage: outputs for stage, outputs in found.items() if outputs}


def _listing(root: Path, md5: str) -> list[dict[str, Any]]:
    cached = _cached(root, md5)
    if not cached.is_file() or _md5(cached) != md5.removesuffix(".dir"):
        return []
    return read_json(cached)


def _cached(root: Path, md5: str) -> Path:
    return root / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
