"""Lists of ids that git keeps: the batches that joined an experiment, and the images removed from it."""

from pathlib import Path

from pipeline.core.errors import DataError
from pipeline.core.storage import read_json


def read_id_list(path: Path) -> list[str]:
    """Return the ids in a tracked JSON list; a missing file is an empty list.

    Raises:
        DataError: the file holds something else.
    """
    value = read_json(path) if path.exists() else []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise DataError(f"{path} must be a JSON list of ids, got {str(value)[:80]}; run facets check --repair")
    return value
