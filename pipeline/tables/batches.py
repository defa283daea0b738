"""Table ``batches``: what came in when, and what became of it.

``status`` is ``source`` for train and test, ``live`` for an ingested batch, ``joined`` once the model in service was
trained on it, ``removed`` when none of its images is left, ``empty`` for a delivery without a new image, which is
listed for the files of it that were refused, or a batch whose images all lie in the source by now. What a batch holds
and the source holds, too, is published with the source; it counts among the batch's ``duplicates``, and comes back if
the source loses it. ``sizes`` counts a batch's images by facet and component.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.core.errors import DataError
from pipeline.core.sealed import read_sealed
from pipeline.core.upgrades import BATCH
from pipeline.tables.model_folder import SOURCE_BATCHES
from pipeline.tables.versions import Entry

EMPTY = "empty"
"""Status of a delivery without a new image."""

Row = dict[str, Any]
Sizes = Sequence[Sequence[int]]
"""Images of a batch by facet and component."""


def ingested(rows: Sequence[Row]) -> list[str]:
    """Return the ingested batches of a version that still have images."""
    return [row["batch_id"] for row in rows if row["status"] in ("live", "joined")]


def kept_batches(rows: Sequence[Row], folder: Path) -> list[str]:
    """Return the ingested batches that a model is to assign: also one without images of its own that has its shard.

    Args:
        rows: of a version.
        folder: of the ingested batches.
    """
    ours = {*ingested(rows), *(row["batch_id"] for row in rows if row["status"] == EMPTY and _is_shard(row, folder))}
    return [row["batch_id"] for row in rows if row["batch_id"] in ours]


def lacks_images(row: Row, entry: Entry, folder: Path) -> bool:
    """Tell whether images of a batch gave way in an entry of it, or in the current version.

    Args:
        row: of the batch in the current version.
        entry: its parts by some model.
        folder: of the ingested batches.
    """
    if entry.rows < row["n_images"]:
        return True
    # A delivery may have had duplicates when it came in.
    if not row["duplicates"] or not _is_shard(row, folder):
        return False
    return read_batch(folder / row["batch_id"])["duplicates"] < row["duplicates"]


def batches_on_disk(folder: Path) -> list[str]:
    """Return all complete batches below a folder, in the order in which they came in."""
    found = [read_batch(path.parent) for path in folder.glob("*/batch.json")]
    return [row["batch_id"] for row in sorted(found, key=lambda row: (row["created"], row["batch_id"]))]


def read_batch(folder: Path) -> Row:
    """Return what an ingested batch states in its ``batch.json``, as columns of its row.

    Raises:
        DataError: the file is missing or lacks a key.
        ResourceError: a newer release wrote it.
    """
    record = BATCH.upgrade(read_sealed(folder / "batch.json"), str(folder / "batch.json"))
    try:
        drift = record.get("drift") or {}
        return {
            "batch_id": record["id"],
            "created": datetime.fromisoformat(record["created"]).astimezone(UTC),
            "source": record["source"],
            "quarantined": record["quarantined"],
            "duplicates": record["duplicates"],
            "drift": drift.get("scores"),
            "drifted": drift.get("drifted"),
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{folder / 'batch.json'} must describe a batch, but {error!r}; run facets check --repair"
        ) from None


def updated_rows(
    rows: Sequence[Row],
    entries: Mapping[str, tuple[Entry, Sizes]],
    joined: Collection[str],
    folder: Path,
    repeated: Mapping[str, int],
) -> list[Row]:
    """Return the rows for a version that covers ``entries``.

    Args:
        rows: of the version before.
        entries: of all batches of the new version, by batch id, with the images per facet and component.
        joined: batches that the model was trained on.
        folder: of the ingested batches, for what the version before did not have.
        repeated: how many images of a batch gave way to others of the same content.
    """
    known = {row["batch_id"]: row for row in rows}
    result: list[Row] = []
    for batch_id, (entry, sizes) in entries.items():
        row = _counted(known.get(batch_id) or first_row(entry, folder), repeated.get(batch_id, 0), folder)
        result.append(row_of(entry, sizes, row, "joined" if batch_id in joined else "live"))
    covered = {batch_id: n_images for batch_id, n_images in repeated.items() if batch_id not in entries}
    result += [_covered_row(read_batch(folder / batch_id), n_images) for batch_id, n_images in covered.items()]
    gone = [row for row in rows if row["batch_id"] not in {*entries, *covered} and row["status"] != "source"]
    return [*result, *(row if row["status"] == EMPTY else removed_row(row) for row in gone)]


def removed_row(row: Row) -> Row:
    """Return the row of a batch of which no image is left; what names its refused files leaves with them."""
    return {**row, "n_images": 0, "quarantined": 0, "sizes": [], "status": "removed"}


def empty_row(batch_id: str, source: str, created: datetime, *, quarantined: int, duplicates: int) -> Row:
    """Return the row of a delivery that held no new image, but files that were refused."""
    return {
        "batch_id": batch_id,
        "created": created,
        "source": source,
        "n_images": 0,
        "quarantined": quarantined,
        "duplicates": duplicates,
        "drift": None,
        "drifted": None,
        "status": EMPTY,
        "sizes": [],
    }


def row_of(entry: Entry, sizes: Sizes, row: Row, status: str) -> Row:
    """Return a batch's row with what its entry says; batches of the source keep their status."""
    if entry.batch_id in SOURCE_BATCHES:
        status = "source"
        quarantine = entry.parts.get("quarantine")
        row = {**row, "quarantined": quarantine.rows if quarantine else 0}
    return {**row, "n_images": entry.rows, "sizes": [list(of_facet) for of_facet in sizes], "status": status}


def first_row(entry: Entry, folder: Path) -> Row:
    """Return the row of a batch that no version had before."""
    if entry.batch_id in SOURCE_BATCHES:
        nothing = dict.fromkeys(("created", "source", "drift", "drifted"))
        return {"batch_id": entry.batch_id, **nothing, "duplicates": 0}
    return read_batch(folder / entry.batch_id)


def _counted(row: Row, n_repeated: int, folder: Path) -> Row:
    """Return a batch's row with the duplicates of its delivery and those that gave way."""
    if not (n_repeated or row["duplicates"]) or not _is_shard(row, folder):
        return row
    delivered = read_batch(folder / row["batch_id"])
    return {**row, "duplicates": delivered["duplicates"] + n_repeated, "quarantined": delivered["quarantined"]}


def _covered_row(row: Row, n_repeated: int) -> Row:
    duplicates = row["duplicates"] + n_repeated
    return {**row, "n_images": 0, "quarantined": 0, "duplicates": duplicates, "sizes": [], "status": EMPTY}


def _is_shard(row: Row, folder: Path) -> bool:
    return (folder / row["batch_id"] / "batch.json").exists()
