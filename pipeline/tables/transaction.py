"""From one version to the next, whole or not at all, whatever is killed when.

Everything new is written into a hidden folder beside the published files. The rename that gives this folder its final
name ``.next`` commits: before it nothing has happened, after it any later process rolls forward. Callers hold the
publish lock.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from pipeline.core.folder_seal import COPIES, copy_of, keep_copy
from pipeline.core.sealed import write_sealed
from pipeline.core.storage import atomic_dir, sync, write_json
from pipeline.core.upgrades import MANIFEST as MANIFEST_FORM
from pipeline.core.upgrades import PLAN, read_record
from pipeline.tables.place import Place
from pipeline.tables.versions import MANIFEST, read_version, version_file, write_version

_NEXT = ".next"
_PLAN = "plan.json"


@contextmanager
def step(published: Path) -> Iterator[Path]:
    """Yield a folder for the new files, laid out as below ``published``; apply what :func:`plan` decided at the end.

    Where the block ends without a plan, nothing happens.

    Raises:
        ResourceError: the disk is full or the folder cannot be written; readers still see the old version.
    """
    recover(published)
    with suppress(_NothingPlanned), atomic_dir(published / _NEXT) as folder:
        yield folder
        if not (folder / _PLAN).exists():
            raise _NothingPlanned
    recover(published)


def plan(
    folder: Path, version: int, *, obsolete: Iterable[str] = (), withdrawn: Mapping[int, str] | None = None
) -> None:
    """Decide what the step does once the new files are in place.

    Args:
        folder: of the step.
        version: becomes the current version.
        obsolete: files or folders below ``published`` to delete after the swap.
        withdrawn: versions that can no longer be read, and why.
    """
    reasons = {str(number): reason for number, reason in (withdrawn or {}).items()}
    write_json(folder / _PLAN, PLAN.stamp({"version": version, "obsolete": sorted(obsolete), "withdrawn": reasons}))


def recover(published: Path) -> None:
    """Finish a step that was decided but not completed; without one, do nothing."""
    folder = published / _NEXT
    if not folder.exists():
        return
    if (folder / _PLAN).exists():
        _apply(published, folder)
    shutil.rmtree(folder)


def is_decided(published: Path) -> bool:
    """Tell whether a step was decided, but not completed yet."""
    return (published / _NEXT / _PLAN).exists()


def write_manifest(published: Path, version: int) -> None:
    """Make a version the current one."""
    write_sealed(published / MANIFEST, MANIFEST_FORM.stamp({"version": version, "file": version_file(version)}))
    keep_copy(published, MANIFEST)


class _NothingPlanned(Exception):
    """Leaves the block of a step that has nothing to do."""


def _apply(published: Path, folder: Path) -> None:
    decided = read_record(folder / _PLAN, PLAN)
    _move_files(folder, published)
    version = decided["version"]
    write_manifest(published, version)
    for number, reason in decided["withdrawn"].items():
        _withdraw(published, int(number), reason)
    for name in decided["obsolete"]:
        _delete(published, published / name)
        _delete(published, copy_of(published, name))


def _move_files(source: Path, target: Path) -> None:
    parents: set[Path] = set()
    for file in sorted(source.rglob("*")):
        if file.is_file() and file.name != _PLAN:
            destination = target / file.relative_to(source)
            destination.parent.mkdir(parents=True, exist_ok=True)
            file.replace(destination)
            parents.add(destination.parent)
    for parent in parents:
        sync(parent)


def _withdraw(published: Path, number: int, reason: str) -> None:
    # The record keeps its lists: retention finds unused files by them.
    write_version(published, replace(read_version(Place(published), number), withdrawn=reason))


def _delete(published: Path, path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
        return
    path.unlink(missing_ok=True)
    parent = path.parent
    while parent not in (published, published / COPIES) and parent.exists() and not any(parent.iterdir()):
        parent.rmdir()
        parent = parent.parent
