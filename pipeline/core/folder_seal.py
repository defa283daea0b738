"""Folders that notice damage: ``files.json`` states the digest of every file in a folder that should not change.

The seal has a second copy below ``copies``, and so have files that nothing else could give back. Code that rewrites
files of a sealed folder opens the seal for these first: if it is interrupted, they raise no false alarm, and all other
files stay guarded.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.core.errors import DataError
from pipeline.core.sealed import copy_bytes, file_digest, is_sealed, read_sealed, write_sealed
from pipeline.core.upgrades import SEAL as FORM

SEAL = "files.json"
COPIES = "copies"

_OPEN = ""


@dataclass(frozen=True)
class _Seal:
    """Digest of each file, and which of them have a second copy."""

    files: Mapping[str, str]
    copied: tuple[str, ...] = ()


def copy_of(folder: Path, name: str) -> Path:
    """Return where the second copy of a file of a folder lies."""
    return folder / COPIES / name


def keep_copy(folder: Path, name: str) -> None:
    """Write the second copy of a file of a folder."""
    copy_bytes(folder / name, copy_of(folder, name))


def seal_folder(folder: Path, copied: Collection[str] = ()) -> None:
    """State the digests of all files of a folder as they are now.

    Args:
        folder: to seal; a seal that it has is replaced.
        copied: names of files to keep a second copy of.
    """
    for name in copied:
        keep_copy(folder, name)
    _write(folder, _Seal({name: file_digest(folder / name) for name in _files(folder)}, tuple(sorted(copied))))


def is_folder_sealed(folder: Path) -> bool:
    """Tell whether a folder has a seal, whole or not: earlier releases made none."""
    return (folder / SEAL).exists() or copy_of(folder, SEAL).exists()


@contextmanager
def rewriting(folder: Path, names: Collection[str]) -> Iterator[None]:
    """Open the seal for some files that the block writes, replaces or deletes, and state their digests at its end.

    Raises:
        DataError: the seal is damaged.
    """
    if is_folder_sealed(folder) and names:
        seal = _read(folder)
        _write(folder, replace(seal, files={**seal.files, **dict.fromkeys(names, _OPEN)}))
        yield
        close_seal(folder)
    else:
        yield


def close_seal(folder: Path) -> None:
    """State the digests of files that a rewriting left open, finished or not."""
    if not is_folder_sealed(folder):
        return
    seal = _read(folder)
    opened = [name for name, digest in seal.files.items() if digest == _OPEN]
    if opened:
        here = {name: file_digest(folder / name) for name in opened if (folder / name).is_file()}
        for name in here.keys() & set(seal.copied):
            keep_copy(folder, name)
        kept = {name: digest for name, digest in seal.files.items() if digest != _OPEN}
        _write(folder, replace(seal, files={**kept, **here}))


def add_to_seal(folder: Path, names: Collection[str]) -> None:
    """State the digests of files of a sealed folder that it does not state yet.

    Raises:
        DataError: the seal is damaged.
    """
    if is_folder_sealed(folder):
        seal = _read(folder)
        new = {name: file_digest(folder / name) for name in names if name not in seal.files}
        if new:
            _write(folder, replace(seal, files={**seal.files, **new}))


def require_sealed(folder: Path, names: Collection[str] = ()) -> None:
    """Refuse files that are not what a folder's seal states; a folder of an earlier release has none to compare with.

    Args:
        folder: with or without a seal.
        names: of files; one that ends in a slash stands for all below that folder; none stand for all there are.

    Raises:
        DataError: a file, or the seal, is missing or damaged.
    """
    if is_folder_sealed(folder):
        seal = _read(folder)
        below = tuple(name for name in names if name.endswith("/"))
        wanted = {name for name in names if not name.endswith("/")}
        wanted |= {name for name in seal.files if not names or name.startswith(below or ("//",))}
        for name in sorted(wanted):
            reason = _fault(folder, name, seal.files.get(name, _OPEN))
            if reason:
                raise DataError(f"{folder / name} {reason}; run facets check --repair")


def folder_faults(folder: Path) -> dict[str, str]:
    """Return what is wrong in a sealed folder: name of a file to the rule that it breaks; nothing if all is well."""
    faults = {name: "is missing or damaged" for name in (SEAL, f"{COPIES}/{SEAL}") if _load(folder / name) is None}
    if len(faults) == 2:
        return faults
    seal = _read(folder)
    faults |= {name: _fault(folder, name, digest) for name, digest in seal.files.items()}
    for name in seal.copied:
        copy = copy_of(folder, name)
        if not copy.is_file() or file_digest(copy) != seal.files.get(name):
            faults[f"{COPIES}/{name}"] = "must be a copy of the file of that name, but is missing or differs"
    return {name: reason for name, reason in faults.items() if reason}


def mend_folder(folder: Path) -> None:
    """Mend the files of a sealed folder from their second copies, and damaged copies from the files.

    Raises:
        DataError: both copies of the seal are damaged.
    """
    seal = _read(folder)
    _write(folder, seal)
    for name in seal.copied:
        digest = seal.files.get(name, _OPEN)
        copy = copy_of(folder, name)
        if not _fault(folder, name, digest):
            keep_copy(folder, name)
        elif copy.is_file() and file_digest(copy) == digest:
            copy_bytes(copy, folder / name)


def stated_digests(folder: Path) -> Mapping[str, str]:
    """Return the digests that the files of a folder should have; none where it has no seal that is whole."""
    seal = _load(folder / SEAL) or _load(copy_of(folder, SEAL))
    return {} if seal is None else seal.files


def _fault(folder: Path, name: str, digest: str) -> str:
    path = folder / name
    if not path.is_file():
        return "is missing"
    if digest != _OPEN and file_digest(path) != digest:
        return "must be as it was written, but was changed or damaged"
    return ""


def _files(folder: Path) -> list[str]:
    names = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file())
    own = {SEAL, COPIES}
    return [str(name) for name in names if name.parts[0] not in own and not name.name.startswith(".")]


def _read(folder: Path) -> _Seal:
    seal = _load(folder / SEAL) or _load(copy_of(folder, SEAL))
    if seal is None:
        raise DataError(
            f"{folder / SEAL} must state the digests of the files beside it, but is missing or damaged; "
            "run facets check --repair"
        )
    return seal


def _load(path: Path) -> _Seal | None:
    try:
        record = read_sealed(path)
    except DataError:
        return None
    if not is_sealed(record):
        return None
    record = FORM.upgrade(record, str(path))
    return _Seal(record["files"], tuple(record["copied"]))


def _write(folder: Path, seal: _Seal) -> None:
    write_sealed(folder / SEAL, FORM.stamp({"files": dict(seal.files), "copied": list(seal.copied)}))
    keep_copy(folder, SEAL)
