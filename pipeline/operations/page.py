"""The page of an experiment follows its published version."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from pipeline.core.errors import DataError
from pipeline.core.folder_seal import require_sealed, rewriting
from pipeline.core.layout import Layout
from pipeline.core.sealed import file_digest, read_sealed, write_sealed
from pipeline.operations.locks import publish_lock
from pipeline.operations.page_files import exact_copies, image_files, set_aside
from pipeline.operations.rejected import Rejected, rejected_deliveries
from pipeline.page import compose, composer, rows
from pipeline.report import erase_images, shows_any
from pipeline.tables import History, query

STAMP = "page.json"
"""Records which version ``report.html`` shows, and whether it may name files."""


def refresh_page(layout: Layout, *, force: bool = False, names_files: bool | None = None) -> None:
    """Compose ``report.html`` for the current version, unless it is there already.

    One that another release composed, or that shows other deliveries than lie rejected now, is composed anew. The
    caller holds the publish lock.

    Args:
        layout: of the experiment.
        force: also where the page is of this version: names or pictures changed.
        names_files: whether the page says names and paths of files, from now on; None for as the last one did.
    """
    history = History(layout.published)
    version = history.served()
    if names_files is None:
        names_files = _names_files(layout)
    rejected = rejected_deliveries(layout)
    if force or _composed(layout) != version.version or not _is_up_to_date(layout, rejected):
        model = layout.published / "models" / version.model_version
        require_sealed(model, ["model.json", "history.csv", "score/metrics.json", "report/"])
        batches = _batches(layout, history)
        page = rows.PageInput(
            experiment=layout.experiment,
            version=version.version,
            model_version=version.model_version,
            created=version.created,
            clusters=_clusters(layout, "groups" in version.tables),
            batches=batches,
            crosses=history.cross_counts(),
            lineage=_lineage(history, version.model_version),
            files=image_files(layout, model, batches) if names_files else None,
            aside=set_aside(layout, with_names=names_files) if any(batch.quarantined for batch in batches) else (),
            copies=exact_copies(layout),
            rejected=[
                rows.RejectedRow(one.name, one.reason) if names_files else rows.RejectedRow(None, None)
                for one in rejected
            ],
        )
        composed = compose(layout.published, page)
        stamp = {"version": version.version, "digest": file_digest(composed), "composer": composer()}
        said = {"names_files": names_files, "rejected": _names(rejected)}
        write_sealed(layout.published / STAMP, stamp | said)


def show_rejected(layout: Layout, wait_seconds: float = 60.0) -> None:
    """Compose the page where it shows other deliveries than lie rejected now; without a published version do nothing.

    Raises:
        BusyError: another process published all the while.
        DataError: something that the page needs is damaged.
    """
    if History(layout.published).current() is not None:
        with publish_lock(layout, "show what was rejected", wait_seconds):
            refresh_page(layout)


def page_fault(layout: Layout) -> str:
    """Return what is wrong with the page of the current version; nothing if all is well."""
    version = History(layout.published).served().version
    if _composed(layout) == version:
        return ""
    page, stamp = layout.published / "report.html", layout.published / STAMP
    return (
        f"{page} must be the page of version {version} as composed, and {stamp} say so, but one is missing or damaged"
    )


def _composed(layout: Layout) -> int | None:
    """Return which version the page shows; None if the page or its record is missing or damaged."""
    try:
        stamp = read_sealed(layout.published / STAMP)
        digest = file_digest(layout.published / "report.html")
        # Earlier releases stated no digest.
        return stamp["version"] if stamp.get("digest", digest) == digest else None
    except (DataError, KeyError, FileNotFoundError):
        return None


def _names_files(layout: Layout) -> bool:
    """Tell whether the last page said names of files; pages of earlier releases asked nobody."""
    with suppress(DataError, FileNotFoundError):
        return read_sealed(layout.published / STAMP).get("names_files", True)
    return True


def _is_up_to_date(layout: Layout, rejected: Sequence[Rejected]) -> bool:
    """Tell whether the present scripts, style and template composed the page, with these; another one is no fault."""
    stamp = read_sealed(layout.published / STAMP)
    return stamp.get("composer") == composer() and stamp.get("rejected", []) == _names(rejected)


def _names(rejected: Sequence[Rejected]) -> list[str]:
    return [one.name for one in rejected]


def erase_pictures(folders: Iterable[Path], image_ids: frozenset[str]) -> int:
    """Blank images in report and thumbnail folders, as far as those exist; return how many pictures were blanked."""
    n_erased = 0
    for folder in folders:
        if (folder / "page.json").exists() and shows_any(folder, image_ids):
            names = [f"{folder.name}/{path.name}" for path in folder.iterdir() if path.is_file()]
            with rewriting(folder.parent, names):
                n_erased += erase_images(folder, image_ids)
    return n_erased


def _clusters(layout: Layout, has_groups: bool) -> list[rows.ClusterRow]:
    names = "facet, cluster_id, cluster_uid, name, note, size, mean_confidence, mixing_weight, minted_by"
    columns = ", ".join(f"c.{name}" for name in names.split(", "))
    group = "c.group_uid, g.name AS group_name" if has_groups else "NULL AS group_uid, NULL AS group_name"
    join = "LEFT JOIN groups g ON c.group_uid = g.group_uid" if has_groups else ""
    found = query(
        layout.experiment,
        f"SELECT {columns}, {group} FROM clusters c {join} ORDER BY c.facet, c.cluster_id",
        root=layout.root,
        engine="arrow",
    )
    return [rows.ClusterRow(**row) for row in found.to_pylist()]


def _batches(layout: Layout, history: History) -> list[rows.BatchRow]:
    result: list[rows.BatchRow] = []
    for row in history.rows("batches"):
        created, sizes = row.pop("created"), row.pop("sizes")
        batch: Path = layout.batches / row["batch_id"]
        thumbnails = batch / "thumbnails"
        if thumbnails.exists():
            require_sealed(batch, ["thumbnails/"])
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
        if row["new_model"] == model_version and row["kind"] != "kept" and row.get("level") != "group"
    ]
