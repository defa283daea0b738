"""What of an experiment a share holds, and how the versions there and here follow from each other."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.core.errors import ConfigError, DataError
from pipeline.core.layout import Layout
from pipeline.core.sealed import read_sealed, write_sealed
from pipeline.core.storage import file_sha256, read_json, write_json
from pipeline.core.upgrades import SHARE_ADDRESS
from pipeline.sharing import Head, Listing, Store
from pipeline.tables import History
from pipeline.tables.current import STAMP as CURRENT_STAMP
from pipeline.tables.place import Place
from pipeline.tables.versions import load_history, read_version, version_file

NOTE = "shared.json"
"""Beside the published tables: the head of the share that they were last equal to, and the version at each address."""

MANIFESTS = ("published/manifest.json", "published/copies/manifest.json")

_OWN = ("report.html", "page.json", "current", CURRENT_STAMP, NOTE)
"""What each clone makes of its published tables itself."""

Relation = Literal["none", "same", "ahead", "behind", "apart"]
"""How what is published here follows from what is shared: nothing is published; it is the same version; it is a later
or an earlier one of the same history; each has versions that the other one has not seen."""


@dataclass(frozen=True)
class Seen:
    """A file here that is shared.

    Attributes:
        path: where it lies.
        mark: by which a change would be noticed.
        sha256: of its bytes.
    """

    path: Path
    mark: str
    sha256: str


def find_address(layout: Layout, given: str | None) -> str:
    """Return where an experiment is shared: as given, else as noted.

    Raises:
        ConfigError: neither is known.
        DataError: the note is damaged.
    """
    if given is not None:
        return given
    if not layout.shared.exists():
        name = layout.experiment
        raise ConfigError(
            f"where {name} is shared must be said once, got no ADDRESS; facets push {name} ADDRESS notes it"
        )
    record = SHARE_ADDRESS.upgrade(read_json(layout.shared), str(layout.shared))
    if not isinstance(record.get("address"), str):
        raise DataError(f"{layout.shared} must name an address; restore it from git")
    return record["address"]


def note_address(layout: Layout, address: str) -> None:
    """Note where an experiment is shared in the tracked file that tells its clones."""
    record = SHARE_ADDRESS.stamp({"address": address})
    if not layout.shared.exists() or read_json(layout.shared) != record:
        write_json(layout.shared, record)


def note_head(layout: Layout, head: Head, address: str) -> None:
    """Note that what is published here is what is shared at an address."""
    held = {**_held(layout), address: head.version}
    write_sealed(layout.published / NOTE, {**json.loads(head.dump()), "held": held})


def held_version(layout: Layout, address: str) -> int | None:
    """Return the version at an address when this clone last pushed to or pulled from it; None if it never did."""
    return _held(layout).get(address)


def describe_nothing(layout: Layout, store: Store, address: str) -> str:
    """Say what is known of a share without a head: where it should be and why nothing is there, without what to do."""
    version = held_version(layout, address)
    if version is not None:
        return f"{store.place} held version {version} when it was last used from here, but holds nothing now"
    root = store.missing_root()
    return f"{store.place} must hold what was pushed there, " + (f"but there is no {root}" if root else "got nothing")


def _held(layout: Layout) -> dict[str, int]:
    with suppress(DataError):
        return read_sealed(layout.published / NOTE).get("held", {})
    return {}


def noted_head(layout: Layout) -> Head | None:
    """Return the head that the published tables were last equal to; None where that is not known."""
    with suppress(DataError, FileNotFoundError):
        return Head.parse((layout.published / NOTE).read_bytes(), NOTE)
    return None


def relation(layout: Layout, head: Head, listing: Listing, place: str) -> Relation:
    """Return how what is published here follows from what is shared.

    Args:
        layout: of the experiment.
        head: of the share.
        listing: that it names.
        place: of the share.

    Raises:
        DataError: a record is damaged.
    """
    here = History(layout.published).current()
    if here is None:
        return "none"
    if (here.version, here.state) == (head.version, head.state):
        return "same"
    noted = noted_head(layout)
    known = {version.version: version.state for version in load_history(layout.published)}
    if known.get(head.version) == head.state or noted == head:
        return "ahead"
    if f"published/{version_file(here.version)}" in listing.files:
        theirs = read_version(Place(place, listing), here.version)
        return "behind" if theirs.state == here.state else "apart"
    # The record of our version has been tidied away there.
    is_noted = noted is not None and (noted.version, noted.state) == (here.version, here.state)
    return "behind" if is_noted and here.version < head.version else "apart"


def shared_files(layout: Layout) -> dict[str, Seen]:
    """Return all files here that are shared, by the names that they have there.

    Hashes are remembered in ``.work``, so that a file is read once, until something changes it.
    """
    memory = layout.workspace / "hashes.json"
    known = _recall(memory)
    found: dict[str, Seen] = {}
    for name, path in _paths(layout).items():
        with suppress(FileNotFoundError):  # it was deleted in this moment
            mark = _mark(path)
            before = known.get(name, ["", ""])
            found[name] = Seen(path, mark, before[1] if before[0] == mark else file_sha256(path))
    remembered = {name: [seen.mark, seen.sha256] for name, seen in found.items()}
    if remembered != known:
        write_json(memory, remembered)
    return found


def is_unchanged(seen: Seen) -> bool:
    """Tell whether a file is still the one that was seen."""
    with suppress(FileNotFoundError):
        return _mark(seen.path) == seen.mark
    return False


def remember(layout: Layout, hashes: Mapping[str, str]) -> None:
    """Note the hashes of files whose bytes were just compared, by their names at the share."""
    memory = layout.workspace / "hashes.json"
    known = dict(_recall(memory))
    for name, sha256 in hashes.items():
        with suppress(FileNotFoundError):
            known[name] = [_mark(path_of(layout, name)), sha256]
    write_json(memory, known)


def path_of(layout: Layout, name: str) -> Path:
    """Return where a file of a share lies here.

    Raises:
        DataError: it is none that this release shares.
    """
    kind, _, rest = name.partition("/")
    places = {"published": layout.published, "batches": layout.batches}
    if kind in places:
        return places[kind] / rest
    lists = _lists(layout)
    if name not in lists:
        raise DataError(f"a share holds tables, batches and lists, got {name!r}; install the release that pushed it")
    return lists[name]


def _paths(layout: Layout) -> dict[str, Path]:
    found = {f"published/{name}": path for name, path in _below(layout.published) if name.partition("/")[0] not in _OWN}
    for folder in sorted(layout.batches.glob("b-*")):
        found |= {f"batches/{folder.name}/{name}": path for name, path in _below(folder)}
    return found | {name: path for name, path in _lists(layout).items() if path.exists()}


def _lists(layout: Layout) -> dict[str, Path]:
    return {f"lists/{path.parent.name}.json": path for path in (layout.joined, layout.removed, layout.history)}


def _below(folder: Path) -> list[tuple[str, Path]]:
    """Return all files below a folder with their names in it, without what is being written."""
    names = ((path.relative_to(folder), path) for path in sorted(folder.rglob("*")) if path.is_file())
    return [(name.as_posix(), path) for name, path in names if not any(part.startswith(".") for part in name.parts)]


def _mark(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ino}"


def _recall(memory: Path) -> Mapping[str, list[str]]:
    with suppress(DataError):
        return read_json(memory)
    return {}
