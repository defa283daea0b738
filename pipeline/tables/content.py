"""Whether content is published already: the hashes of all images, sorted, in a few files that are searched in place.

``parts/content/<digest>.hashes`` is one line of JSON, which names the ``images`` parts that it covers by the hashes of
their ids, and then the content hashes of their images (see :mod:`pipeline.tables.sorted_hashes`). The files cover the
current version alone; they are written in the step that publishes it, and say nothing that its parts do not say: for
parts without one, which an earlier release published or whose file was lost, the parts themselves are read.

Files are merged as in a log-structured merge tree (O'Neil et al., 1996): each has more rows than all smaller ones
together, so n images have at most log₂ n files, and no hash is written more often than that.
"""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Shaped

from pipeline.core.image_ids import HASH_DTYPE, ContentSet
from pipeline.core.sealed import file_digest
from pipeline.core.storage import as_resource_error, sync, temporary_dir
from pipeline.core.upgrades import CONTENT
from pipeline.table_format.ids import content_hashes
from pipeline.tables.parts import part_rows
from pipeline.tables.place import REPAIR, Place
from pipeline.tables.sorted_hashes import SortedHashes, merged, sorted_blocks, write_hashes
from pipeline.tables.verified import require_sound
from pipeline.tables.versions import PartFile

FOLDER = "parts/content"

Locate = Callable[[PartFile], Path]
"""From a part to where it lies at this moment."""


class PublishedContent:
    """The content of the images of a version.

    Memory is a byte for every sixteen published images, and pages for the hashes that are looked up at once; time grows
    with the number of these and the logarithm of what is published.

    Args:
        published: folder of the experiment.
        images: the version's parts of table ``images``.

    Raises:
        DataError: a file is missing or damaged.
    """

    def __init__(self, published: Path, images: Sequence[PartFile]) -> None:
        found = _Coverage(published, images)
        self._files = [SortedHashes(published / run.file, run.rows, run.start) for run in found.runs]
        require_sound(Place(published), found.missing)
        rest = [hashes for part in found.missing for hashes in _hashes_of(published / part.file)]
        self._rest = ContentSet(np.concatenate([np.empty(0, HASH_DTYPE), *rest]))

    def has(self, hashes: Shaped[np.ndarray, " image"]) -> Bool[np.ndarray, " image"]:
        """Tell which images are published, by their content hashes."""
        found = self._rest.has(hashes)
        for file in self._files:
            found |= file.has(hashes)
        return found


def update_content(published: Path, folder: Path, images: Sequence[PartFile], locate: Locate) -> set[str]:
    """Write the files that the parts of a version lack, and merge some. Callers hold the publish lock.

    Args:
        published: folder of the experiment.
        folder: of the step, laid out as below ``published``; or that itself.
        images: the version's parts of table ``images``.
        locate: tells where they lie.

    Returns:
        The files below ``published`` that are needed no longer.

    Raises:
        DataError: a part or a file is missing or damaged.
        ResourceError: the disk is full.
    """
    found = _Coverage(published, images)
    outgrown = _to_merge(found.runs, sum(part.rows for part in found.missing))
    if found.missing or outgrown:
        old = [part for part in found.missing if locate(part) == published / part.file]
        require_sound(Place(published), old)
        covers = {part.ids for part in found.missing}.union(*(run.covers for run in outgrown))
        with as_resource_error(folder / FOLDER), temporary_dir(folder / FOLDER) as scratch:
            sources = [SortedHashes(published / run.file, run.rows, run.start) for run in outgrown]
            sources += sorted_blocks((some for part in found.missing for some in _hashes_of(locate(part))), scratch)
            _write(folder, scratch, covers, sources)
    kept = {run.file for run in found.runs} - {run.file for run in outgrown}
    return found.files - kept


def lacks_content(published: Path, images: Sequence[PartFile]) -> bool:
    """Tell whether no file covers some part of a version: an earlier release published it, or the file was lost."""
    return bool(_Coverage(published, images).missing)


def content_faults(published: Path) -> list[str]:
    """Return which files are damaged."""
    return [
        f"{published / file.file} must be as it was published, but was changed or damaged; {REPAIR}"
        for file in _files(published)
        if file_digest(published / file.file) != file.digest
    ]


def delete_damaged(published: Path) -> None:
    """Delete damaged files, which :func:`write_content` can write again."""
    for file in _files(published):
        if file_digest(published / file.file) != file.digest:
            (published / file.file).unlink()


def write_content(published: Path, images: Sequence[PartFile]) -> None:
    """Write the files that the parts of the current version lack. Callers hold the publish lock.

    Raises:
        DataError: a part or a file is missing or damaged.
        ResourceError: the disk is full.
    """
    for name in update_content(published, published, images, lambda part: published / part.file):
        (published / name).unlink()


@dataclass(frozen=True)
class _Run:
    """One file: the parts that it covers by the hashes of their ids, its rows, and where these start."""

    file: str
    covers: frozenset[str]
    rows: int
    start: int


class _Coverage:
    """All files there are, those that serve a version, the largest first, and its parts that none covers."""

    def __init__(self, published: Path, images: Sequence[PartFile]) -> None:
        files = _files(published)
        require_sound(Place(published), files)
        self.files = {file.file for file in files}
        wanted, covered = {part.ids for part in images}, set[str]()
        self.runs: list[_Run] = []
        for run in sorted((_read(published, file.file) for file in files), key=lambda run: -run.rows):
            # A file that covers a part of an earlier version knows images that may be gone.
            if run.covers <= wanted and not run.covers <= covered:
                self.runs.append(run)
                covered |= run.covers
        self.missing = [part for part in images if part.ids not in covered]


def _files(published: Path) -> list[PartFile]:
    """Return all files there are, as parts: their names are the digests of their bytes."""
    paths = sorted((published / FOLDER).glob("[0-9a-f]*.hashes"))
    return [PartFile(f"{FOLDER}/{path.name}", 0, "", "", "", digest=path.stem) for path in paths]


def _read(published: Path, name: str) -> _Run:
    with (published / name).open("rb") as file:
        line = file.readline()
    record = CONTENT.upgrade(json.loads(line), str(published / name))
    return _Run(name, frozenset(record["covers"]), record["rows"], len(line))


def _to_merge(runs: Collection[_Run], n_new: int) -> list[_Run]:
    """Return the files to be merged with new rows, so that each file has more rows than all smaller ones together."""
    ordered = sorted(runs, key=lambda run: run.rows)
    n_merged, n_smaller = 0, n_new
    for place, run in enumerate(ordered, 1):
        if run.rows <= n_smaller:
            n_merged = place
        n_smaller += run.rows
    return ordered[:n_merged]


def _hashes_of(images: Path) -> Iterator[Shaped[np.ndarray, " image"]]:
    for rows in part_rows(images, ["image_id"]):
        yield content_hashes(rows.column("image_id"))


def _write(folder: Path, scratch: Path, covers: set[str], sources: Sequence[SortedHashes]) -> None:
    n_rows = sum(source.n_rows for source in sources)
    temporary = scratch / "new"
    with temporary.open("wb") as file:
        file.write(json.dumps(CONTENT.stamp({"covers": sorted(covers), "rows": n_rows})).encode() + b"\n")
        write_hashes(file, merged(sources))
    sync(temporary)
    target = folder / FOLDER / f"{file_digest(temporary)}.hashes"
    target.parent.mkdir(exist_ok=True)
    temporary.rename(target)
    sync(target.parent)
