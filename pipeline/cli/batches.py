"""``facets batches``."""

from typing import Any

from pipeline.cli._shared import AsJson, ExperimentName, open_experiment, show
from pipeline.core.text import counted, printable


def batches(experiment: ExperimentName, as_json: AsJson = False) -> None:
    """List the batches of the published tables: what came in when, drift, and what became of it.

    Status: source (train and test), live (assigned by the model in service), joined (it was also trained on), removed,
    empty (no image of it was new, or all lie in the source by now). Duplicates are images of a delivery whose content
    was there already, or lies in the source by now.

    \b
    Example:
        facets batches digits
    """
    from pipeline.tables import History
    from pipeline.tables.place import due

    layout, _ = open_experiment(experiment)
    rows = History(layout.published).rows("batches")
    lines = [_line(row) for row in rows] or [f"nothing is published yet; {due(layout.published)}"]
    show("\n".join(lines), rows, as_json)


def _line(row: dict[str, Any]) -> str:
    # Copies in the source are rows with ids of their own, and status counts them; a delivery's duplicates are none.
    duplicates = "" if row["status"] == "source" else f", {counted(row['duplicates'], 'duplicate')}"
    facts = f"{counted(row['n_images'], 'image')}{duplicates}, {row['quarantined']} quarantined"
    drift = "" if row["drift"] is None else f", drift {' '.join(f'{score:.1f}' for score in row['drift'])}"
    mark = " DRIFTED" if row["drifted"] else ""
    created = row["created"]
    came = "" if created is None else f", {created.isoformat(timespec='seconds')} from {printable(row['source'])}"
    return f"{row['batch_id']:<14} {row['status']:<7} {facts}{drift}{mark}{came}"
