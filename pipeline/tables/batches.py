"""Table ``batches``: what came in when, and what became of it.

``status`` is ``source`` for train and test, ``live`` for an ingested batch, ``joined`` once the model in service was
trained on it, ``removed`` when none of its images is left.
"""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.errors import DataError
from pipeline.storage import read_json
from pipeline.tables.model_folder import SOURCE_BATCHES
from pipeline.tables.versions import Entry

Row = dict[str, Any]


def ingested(rows: Sequence[Row]) -> list[str]:
    """Return the ingested batches of a version that still have images."""
    return [row["batch_id"] for row in rows if row["status"] in ("live", "joined")]


def batches_on_disk(folder: Path) -> list[str]:
    """Return all complete batches below a folder, in the order in which they came in."""
    found = [read_batch(path.parent) for path in folder.glob("*/batch.json")]
    return [row["batch_id"] for row in sorted(found, key=lambda row: (row["created"], row["batch_id"]))]


def read_batch(folder: Path) -> Row:
    """Return the row that an ingested batch states in its ``batch.json``.

    Raises:
        DataError: the file is missing or lacks a key.
    """
    record = read_json(folder / "batch.json")
    drift = record.get("drift") or {}
    try:
        return {
            "batch_id": record["id"],
            "created": datetime.fromisoformat(record["created"]).astimezone(UTC),
            "source": record["source"],
            "n_images": record["n_images"],
            "quarantined": record["quarantined"],
            "duplicates": record["duplicates"],
            "drift": drift.get("scores"),
            "drifted": drift.get("drifted"),
            "status": "live",
        }
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder / 'batch.json'} must describe a batch, but {error!r}; ingest it again") from None


def updated_rows(rows: Sequence[Row], entries: Sequence[Entry], joined: Collection[str], folder: Path) -> list[Row]:
    """Return the rows for a version that covers ``entries``.

    Args:
        rows: of the version before.
        entries: of all batches of the new version.
        joined: batches that the model was trained on.
        folder: of the ingested batches, for what the version before did not have.
    """
    known = {row["batch_id"]: row for row in rows}
    result = [row_of(entry, known.get(entry.batch_id), joined, folder) for entry in entries]
    present = {entry.batch_id for entry in entries}
    gone = [row for row in rows if row["batch_id"] not in present and row["status"] != "source"]
    return [*result, *map(removed_row, gone)]


def removed_row(row: Row) -> Row:
    """Return the row of a batch of which no image is left."""
    return {**row, "n_images": 0, "status": "removed"}


def row_of(entry: Entry, known: Row | None, joined: Collection[str], folder: Path) -> Row:
    """Return the row of one batch; what a version before said about it stands, counts and status apart."""
    if entry.batch_id in SOURCE_BATCHES:
        quarantine = entry.parts.get("quarantine")
        nothing = dict.fromkeys(("created", "source", "drift", "drifted"))
        counts = {"quarantined": quarantine.rows if quarantine else 0, "duplicates": 0}
        return {"batch_id": entry.batch_id, **nothing, **counts, "n_images": entry.rows, "status": "source"}
    row = known or read_batch(folder / entry.batch_id)
    status = "joined" if entry.batch_id in joined else "live"
    return {**row, "n_images": entry.rows, "status": status}
