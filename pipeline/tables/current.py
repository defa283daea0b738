"""``current/<experiment>.parquet``: the images of the current version, one row each, for readers of plain files.

It is one file on purpose. Whoever reads a pattern of names lists a folder first and opens what it found later, one file
after the other and each by its name, which leads through folders and links anew. Whatever is exchanged in between, be
it by one rename of a link, such a reader gets a part of either version, or finds a name gone. Here the name is never
gone, and what a reader looks for in the file stays there for a while (:mod:`pipeline.tables.plain_file`); with all
facets in a row, questions across facets need no second file.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.errors import DataError
from pipeline.core.sealed import file_digest, read_sealed, write_sealed
from pipeline.core.storage import as_resource_error, require_free_space, sync, temporary_dir
from pipeline.core.upgrades import CURRENT
from pipeline.table_format.schema import ROW_GROUP, facet_table
from pipeline.tables.lists import load_entries
from pipeline.tables.place import Place
from pipeline.tables.plain_file import SECONDS_KEPT, SECONDS_TO_OPEN, Span, write_beside, write_without
from pipeline.tables.verified import require_sound
from pipeline.tables.versions import Entry, Version, load_history, load_version

STAMP = "current.json"
"""Records which version the file holds, where, and the digest of all its bytes."""

_MOST_AT_ONCE = 2_000_000
"""Rows with which every added batch is there at once. All of them are written anew, which takes a second a million."""

_OF_IMAGE = {"image_id": pa.string(), "batch_id": pa.string(), "path": pa.string()}
_OF_FACET = {
    "cluster_uid": pa.string(),
    "group_uid": pa.string(),
    "confidence": pa.float32(),
    "entropy": pa.float32(),
    "typicality": pa.float32(),
}
_REPEATING = ("batch_id", "model_version", "cluster_uid", "group_uid")


def current_file(published: Path) -> Path:
    """Return where the file lies."""
    return published / "current" / f"{published.name}.parquet"


def write_current(published: Path, *, is_addition: bool = False) -> None:
    """Put the rows of the current version in place of those before, if it holds others. Callers hold the publish lock.

    Args:
        published: folder of the experiment's tables.
        is_addition: whether batches were added and all else is as before; of very many rows the file may then wait.

    Raises:
        DataError: a part is missing or damaged.
        ResourceError: the disk is full; the file stays as it is.
    """
    version = load_version(Place(published))
    target = current_file(published)
    state = _stated(published).get("state")
    if target.exists() and (state == version.state or (is_addition and _may_wait(published, state, version))):
        return
    entries = load_entries(Place(published), version)
    tables = ["images", *map(facet_table, range(version.n_facets))]
    parts = [entry.parts[table] for entry in entries for table in tables]
    require_sound(Place(published), parts)
    kept = _young(_spans(published))
    size = sum((published / part.file).stat().st_size for part in parts)
    require_free_space(published, size + sum(span.stop - span.start for span in kept))
    schema = _schema(version)

    def fill(writer: pq.ParquetWriter) -> None:
        for entry in entries:
            for rows in _rows(published, version, entry):
                writer.write_table(pa.table(rows, schema.names).cast(schema), row_group_size=ROW_GROUP)

    def write(new: Path) -> list[Span]:
        return [*kept, write_beside(new, target, kept, schema, fill)]

    _replace(published, version.state, write)


def purge_current(published: Path) -> None:
    """Take the rows of earlier versions out of the file for good; who has planned to read them gets a moment for it.

    Callers hold the publish lock.

    Raises:
        ResourceError: the disk is full; the file stays as it is.
    """
    spans = _spans(published)
    replaced = [span.replaced for span in spans if span.replaced is not None]
    if replaced:
        since = time.time() - max(replaced)
        time.sleep(min(max(SECONDS_TO_OPEN - since, 0.0), SECONDS_TO_OPEN))

        def write(new: Path) -> list[Span]:
            write_without(new, current_file(published), spans[-1])
            return spans[-1:]

        _replace(published, _stated(published)["state"], write)


def current_fault(published: Path) -> str:
    """Return what is wrong with the file; nothing if it holds the rows of the current version, or was never written."""
    stated, target = _stated(published), current_file(published)
    if not target.exists() and not (published / STAMP).exists():  # an earlier release published
        return ""
    version = load_version(Place(published))
    is_right = stated.get("state") == version.state or _may_wait(published, stated.get("state"), version)
    if is_right and target.exists() and file_digest(target) == stated.get("digest"):
        return ""
    return f"{target} must hold the images of the current version, as {STAMP} beside its folder states, but does not"


def _may_wait(published: Path, state: str | None, version: Version) -> bool:
    """Tell whether the rows of a state may stay: they are many, all are still valid, and only batches are missing."""
    if version.n_images <= _MOST_AT_ONCE:
        return False
    known = (one for one in load_history(published) if one.withdrawn is None)
    return any(one.state == state and one.model_version == version.model_version for one in known)


def _replace(published: Path, state: str, write: Callable[[Path], list[Span]]) -> None:
    target = current_file(published)
    # Beside the folder: in it nothing but the file shall ever be found.
    with as_resource_error(target), temporary_dir(target.parent) as scratch:
        new = scratch / target.name
        spans = write(new)
        sync(new)
        record = {"state": state, "digest": file_digest(new), "size": new.stat().st_size, "spans": spans}
        target.parent.mkdir(exist_ok=True)
        new.replace(target)
        sync(target.parent)
    write_sealed(published / STAMP, CURRENT.stamp(record))


def _stated(published: Path) -> dict[str, Any]:
    with suppress(DataError):
        return CURRENT.upgrade(read_sealed(published / STAMP), str(published / STAMP))
    return {}


def _spans(published: Path) -> list[Span]:
    """Return what the file holds, at the end what its footer names; nothing where it is not the one written last."""
    target, stated = current_file(published), _stated(published)
    is_ours = target.exists() and target.stat().st_size == stated.get("size")
    return [Span(*span) for span in stated["spans"]] if is_ours else []


def _young(spans: Sequence[Span]) -> list[Span]:
    """Return the pages that readers may look for once all of them are replaced."""
    now = time.time()
    replaced = [span if span.replaced is not None else span._replace(replaced=now) for span in spans]
    return [span for span in replaced if span.replaced == now or now - (span.replaced or now) < SECONDS_KEPT]


def _schema(version: Version) -> pa.Schema:
    kinds = dict(_OF_IMAGE)
    for facet in range(version.n_facets):
        kinds |= {f"{facet_table(facet)}_{name}": kind for name, kind in _OF_FACET.items()}
    kinds |= {"model_version": pa.string(), "version": pa.int64()}
    coded = pa.dictionary(pa.int32(), pa.string())
    return pa.schema([(name, coded if name.endswith(_REPEATING) else kind) for name, kind in kinds.items()])


def _rows(published: Path, version: Version, entry: Entry) -> Iterator[list[pa.Array]]:
    """Yield the rows of a batch, those of all its parts side by side: each lists the same images in the same order."""
    of_version = [pa.scalar(version.model_version), pa.scalar(version.version, pa.int64())]
    with ExitStack() as stack:
        columns = [_columns(stack, published / entry.parts["images"].file, _OF_IMAGE)]
        for facet in range(version.n_facets):
            columns.append(_columns(stack, published / entry.parts[facet_table(facet)].file, _OF_FACET))
        for side_by_side in zip(*columns, strict=True):
            arrays = [array for rows in side_by_side for array in rows]
            yield [*arrays, *(pa.repeat(value, len(arrays[0])) for value in of_version)]


def _columns(stack: ExitStack, path: Path, kinds: dict[str, pa.DataType]) -> Iterator[list[pa.Array]]:
    """Yield some columns of a part in groups of rows, with nulls for those that an earlier release did not write."""
    metadata = pq.read_metadata(path)
    known = [name for name in kinds if name in metadata.schema.names]
    coded = [name for name in known if name in _REPEATING]
    file = stack.enter_context(pq.ParquetFile(path, metadata=metadata, read_dictionary=coded))
    for rows in file.iter_batches(ROW_GROUP, columns=known):
        yield [rows[name] if name in known else pa.nulls(rows.num_rows, kind) for name, kind in kinds.items()]
