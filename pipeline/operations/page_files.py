"""What the page says of files: their names, where a browser finds them, and which were set aside."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any

from pipeline.config.sources import SOURCES
from pipeline.core.errors import ConfigError, DataError
from pipeline.core.layout import Layout
from pipeline.core.upgrades import PICTURES, read_record
from pipeline.datasets.delivery.preparation import model_section
from pipeline.datasets.files.location import is_url, settled
from pipeline.page import rows
from pipeline.tables import query

_EXAMPLES = 5
"""Files that are named for one reason of one batch."""

_ASIDE = r"""
    SELECT batch_id, count(*) AS n, list(file ORDER BY file)[:{examples}] AS files,
           CASE WHEN min(reason) = max(reason) THEN min(reason) ELSE kind END AS reason
    FROM (SELECT *, regexp_replace(reason, '[0-9]+', '…', 'g') AS kind FROM quarantine)
    GROUP BY batch_id, kind ORDER BY n DESC, reason, batch_id
"""

# Further copies of an image in one source have its id with a number behind: i-…-2.
_COPIES = "SELECT count(*) FROM images WHERE contains(substr(image_id, 3), '-')"


def image_files(layout: Layout, model: Path, batches: Iterable[rows.BatchRow]) -> rows.Files:
    """Return the names of all files whose images the page shows.

    Args:
        layout: of the experiment.
        model: folder of the model in service.
        batches: of the page.
    """
    batches = list(batches)
    folders = [model / "report", *(batch.thumbnails for batch in batches if batch.thumbnails is not None)]
    ids = sorted({image_id for folder in folders for image_id in _shown(folder)})
    # One text to take apart: thousands of values would take DuckDB longer to parse than to find.
    wanted = " ".join(ids).replace("'", "''")
    found = _ask(
        layout,
        f"SELECT image_id, batch_id, path FROM images WHERE image_id IN (SELECT unnest(string_split('{wanted}', ' '))) "
        "AND path IS NOT NULL ORDER BY batch_id, image_id",
    )
    images = {row["image_id"]: rows.ImageFile(row["batch_id"], row["path"]) for row in found}
    roots = {"train": _source_root(layout, model)}
    roots["test"] = roots["train"]
    delivered = {batch.batch_id: batch.source for batch in batches if batch.source is not None}
    for batch_id, files in groupby(images.values(), key=lambda file: file.batch_id):
        if batch_id in delivered:
            roots[batch_id] = _delivery_root(delivered[batch_id], [file.path for file in files])
    return rows.Files(images, {batch_id: root for batch_id, root in roots.items() if root is not None})


def set_aside(layout: Layout, *, with_names: bool) -> list[rows.AsideRow]:
    """Return how many files were set aside in each batch, by reason."""
    found = _ask(layout, _ASIDE.format(examples=_EXAMPLES))
    return [rows.AsideRow(r["batch_id"], r["reason"], r["n"], r["files"] if with_names else ()) for r in found]


def exact_copies(layout: Layout) -> int:
    """Return how many images are exact copies of another one of their source."""
    (row,) = _ask(layout, _COPIES)
    return next(iter(row.values()))


def _ask(layout: Layout, sql: str) -> list[dict[str, Any]]:
    return query(layout.experiment, sql, root=layout.root, engine="arrow").to_pylist()


def _shown(folder: Path) -> Iterator[str]:
    ids = read_record(folder / "page.json", PICTURES)["images"]["ids"]
    return (image_id for image_id in ids if image_id is not None)


def _source_root(layout: Layout, model: Path) -> str | None:
    """Return the address of the folder that a model's source is; None for files of many images."""
    # The page is worth composing without links, too.
    with suppress(ConfigError, DataError):
        params = model_section(model, "preprocess")
        if params.path is not None and SOURCES[params.source].is_folder:
            return _address(settled(layout, params.path))
    return None


def _delivery_root(location: str, paths: list[str]) -> str | None:
    """Return the address of a delivered folder; None where it held files of many images, or has been emptied since."""
    if is_url(location):
        return None
    # Names with a backslash may stand for bytes that are no UTF-8; any other will do.
    plain = next((path for path in paths if "\\" not in path), None)
    with suppress(OSError):
        if plain is not None and Path(location).is_absolute() and Path(location, plain).is_file():
            return _address(location)
    return None


def _address(location: str) -> str | None:
    if is_url(location):
        return f"{location.rstrip('/')}/" if location.startswith(("http://", "https://")) else None
    return f"{Path(location).as_uri().rstrip('/')}/"
