"""What was set aside of published batches: why, in numbers, and which files of a source."""

from collections.abc import Sequence
from typing import Any

from pipeline.core.layout import Layout
from pipeline.core.text import count_reasons
from pipeline.datasets.delivery.preparation import model_section
from pipeline.datasets.files.location import settled, storable
from pipeline.tables import History, query


def reasons_by_batch(layout: Layout, batches: Sequence[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Return by batch why files of it were set aside, and how many; the most frequent reason first.

    Args:
        layout: of the experiment.
        batches: rows of table ``batches``: where none was set aside, no other file is read.

    Raises:
        DataError: table ``quarantine`` is damaged.
    """
    if not any(batch["quarantined"] for batch in batches):
        return {}
    sql = "SELECT batch_id, list(reason ORDER BY file) AS reasons FROM quarantine GROUP BY 1 ORDER BY 1"
    found = query(layout.experiment, sql, root=layout.root, engine="arrow").to_pylist()
    return {row["batch_id"]: count_reasons(row["reasons"]) for row in found}


def listed_before(layout: Layout, source: str) -> set[tuple[str, str]]:
    """Return file and reason of all that is listed as set aside of a source, be it in deliveries or in the training.

    Args:
        layout: of the experiment.
        source: where the files lie, as table ``batches`` has it.

    Raises:
        DataError: a table is damaged.
    """
    history = History(layout.published)
    trained_on = model_section(history.model_folder(), "preprocess").path
    is_trained_on = trained_on is not None and storable(settled(layout, trained_on)) == source
    batches = [
        row["batch_id"]
        for row in history.rows("batches")
        if row["quarantined"] and (row["source"] == source or (is_trained_on and row["status"] == "source"))
    ]
    if not batches:
        return set()
    sql = f"SELECT file, reason FROM quarantine WHERE batch_id IN ({', '.join(map(repr, batches))})"
    found = query(layout.experiment, sql, root=layout.root, engine="arrow").to_pylist()
    return {(row["file"], row["reason"]) for row in found}
