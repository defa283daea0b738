"""Table ``batches``: what came in when, and what became of it.

``status`` is ``source`` for train and test, ``live`` for an ingested batch, ``joined`` once the model in service was
trained on it, ``removed`` when none of its images is left, ``empty`` for a delivery without a new image, which is
listed for the files of it that were refused. ``sizes`` counts a batch's images by facet and component.
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
    rows: Sequence[Row], entries: Mapping[str, tuple[Entry, Sizes]], joined: Collection[str], folder: Path
) -> list[Row]:
    """Return the rows for a version that covers ``entries``.

    Args:
        rows: of the version before.
        entries: of all batches of the new version, by batch id, with the images per facet and component.
        joined: batches that the model was trained on.
        folder: of the ingested batches, for what the version before did not have.
    """
    known = {row["batch_id"]: row for row in rows}
    result: list[Row] = []
    for batch_id, (entry, sizes) in entries.items():
        row = known.get(batch_id) or first_row(entry, folder)
        result.append(row_of(entry, sizes, row, "joined" if batch_id in joined else "live"))
    gone = [row for row in rows if row["batch_id"] not in entries and row["status"] != "source"]
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
