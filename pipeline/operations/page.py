"""The page of an experiment follows its published version."""

from collections.abc import Iterable
from pathlib import Path

from pipeline.layout import Layout
from pipeline.page import compose, rows
from pipeline.report import erase_images
from pipeline.storage import read_json, write_json
from pipeline.tables import History, query


def refresh_page(layout: Layout, *, force: bool = False) -> None:
    """Compose ``report.html`` for the current version, unless it is there already. The caller holds the publish lock.

    Args:
        layout: of the experiment.
        force: also where the page is of this version: names or pictures changed.
    """
    history = History(layout.published)
    version = history.served()
    stamp = layout.published / "page.json"
    composed = read_json(stamp)["version"] if stamp.exists() else None
    if force or composed != version.version:
        page = rows.PageInput(
            experiment=layout.experiment,
            version=version.version,
            model_version=version.model_version,
            created=version.created,
            clusters=_clusters(layout),
            batches=_batches(layout, history),
            lineage=_lineage(history, version.model_version),
        )
        compose(layout.published, page)
        write_json(stamp, {"version": version.version})


def erase_pictures(folders: Iterable[Path], image_ids: frozenset[str]) -> int:
    """Blank images in report and thumbnail folders, as far as those exist; return how many pictures were blanked."""
    return sum(erase_images(folder, image_ids) for folder in folders if (folder / "page.json").exists())


def _clusters(layout: Layout) -> list[rows.ClusterRow]:
    columns = "facet, cluster_id, cluster_uid, name, note, size, mean_confidence, mixing_weight, minted_by"
    found = query(
        layout.experiment,
        f"SELECT {columns} FROM clusters ORDER BY facet, cluster_id",
        root=layout.root,
        engine="arrow",
    )
    return [rows.ClusterRow(**row) for row in found.to_pylist()]


def _batches(layout: Layout, history: History) -> list[rows.BatchRow]:
    result: list[rows.BatchRow] = []
    for row in history.rows("batches"):
        created, sizes = row.pop("created"), row.pop("sizes")
        thumbnails: Path = layout.batches / row["batch_id"] / "thumbnails"
        result.append(
            rows.BatchRow(
                **row,
                created=None if created is None else created.isoformat(),
                sizes=sizes or None,
                thumbnails=thumbnails if thumbnails.exists() else None,
            )
        )
    return result


def _lineage(history: History, model_version: str) -> list[rows.LineageRow]:
    columns = ("facet", "old_uid", "new_uid", "kind", "overlap")
    return [
        rows.LineageRow(**{column: row[column] for column in columns})
        for row in history.rows("lineage")
        if row["new_model"] == model_version and row["kind"] != "kept"
    ]
