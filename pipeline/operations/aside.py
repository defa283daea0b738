"""Why files of published batches were set aside, in numbers."""

from collections.abc import Sequence
from typing import Any

from pipeline.core.layout import Layout
from pipeline.core.text import count_reasons
from pipeline.tables import query


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
