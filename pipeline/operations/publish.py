"""What readers see changes here: a new model, an old one again, more batches, fewer images."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pipeline.config.sections import Experiment
from pipeline.core.errors import ResourceError, UnhealthyError
from pipeline.core.folder_seal import close_seal, require_sealed
from pipeline.core.layout import Layout
from pipeline.core.text import reason_of
from pipeline.core.upgrades import read_model_file
from pipeline.datasets.prepare.id_list import read_id_list
from pipeline.datasets.store.identity import batch_id as name_batch
from pipeline.monitoring.gate import unhealthy
from pipeline.operations.aside import listed_before
from pipeline.operations.assign_batch import AssignBatches, assigner, forget_assignments
from pipeline.operations.first_publish import record_history, require_own_history
from pipeline.operations.locks import publish_lock, repository_lock
from pipeline.operations.page import erase_pictures, refresh_page
from pipeline.operations.stage_model import stage_model as stage_model
from pipeline.tables import History
from pipeline.tables.batches import empty_row

Published = tuple[int, bool]
"""The version that readers now see, and whether this call made it."""


class PageError(ResourceError):
    """What readers of the tables see has changed, but the page does not show it yet."""


def publish(
    layout: Layout, experiment: Experiment, assign: AssignBatches | None = None, wait_seconds: float = 0.0
) -> Published:
    """Publish the model that the last rebuild left in ``artifacts/``.

    Args:
        layout: of the experiment.
        experiment: its parameters.
        assign: assigns ingested batches that did not join the training; by default on this machine or
            the cluster of ``publish.cluster``.
        wait_seconds: how long to wait for another process that uses DVC here.

    Raises:
        PublishError: the model is not healthy, or an invariant is broken; the old version stays in service. Or the
            experiment was published elsewhere, and nothing is published here.
        DataError: a file is missing or damaged; likewise.
        BusyError: another process holds a lock.
    """
    require_own_history(layout)
    with repository_lock(layout.root, f"publish {layout.experiment}", wait_seconds):
        model_version = stage_model(layout, experiment)
    return publish_staged(layout, experiment, model_version, assign)


def publish_staged(
    layout: Layout, experiment: Experiment, model_version: str, assign: AssignBatches | None = None
) -> Published:
    """Publish a model that :func:`stage_model` staged; as :func:`publish`, without the repository lock."""
    history = History(layout.published)
    current = history.current()
    if current is None or current.model_version != model_version:
        _require_healthy(history, experiment, model_version)
    return _serve(layout, experiment, model_version, "publish", assign)


def rollback(layout: Layout, experiment: Experiment, version: int, assign: AssignBatches | None = None) -> Published:
    """Put the model of an old version back in service, as a new version that covers all images of today.

    Raises:
        ConfigError: there is no such version.
        PublishError: its model is not kept any more.
    """
    model_version = History(layout.published).model_of(version)
    return _serve(layout, experiment, model_version, "rollback", assign)


def add_batches(layout: Layout, batch_ids: Sequence[str], assign: AssignBatches | None = None) -> Published:
    """Assign ingested batches with the model in service and add them to its version; those already in are left alone.

    Raises:
        PublishError: nothing is published yet, or an image is in already; the old version stays.
        PageError: the batches are in, but not on the page.
    """
    history, assign = History(layout.published), assign or assigner(layout)
    for batch_id in batch_ids:
        require_sealed(layout.batches / batch_id, ["batch.json", "images.parquet", "quarantine.parquet"])
    while True:
        model_version = history.served().model_version
        folders = assign(batch_ids, history.model_folder(model_version))
        with publish_lock(layout, f"ingest {', '.join(batch_ids)}"):
            history.recover()
            before = history.served()
            # A model may have been published meanwhile: then assign once more, without holding the lock.
            if before.model_version == model_version:
                history.add_batches(folders, layout.batches, frozenset(read_id_list(layout.removed)))
                forget_assignments(layout, model_version, list(folders))
                show_served(layout, is_addition=True)
                return history.served().version, history.served().version != before.version


def add_refused(layout: Layout, source: str, refused: Sequence[tuple[str, str]], duplicates: int) -> Published:
    """List a delivery that held no new image for the files that were refused of it.

    A file that is listed already, of the same source and for the same reason, is no news; without news nothing changes.

    Args:
        layout: of the experiment.
        source: where the delivery lay.
        refused: (file, reason).
        duplicates: images of it whose content is there already.

    Raises:
        PageError: it is listed, but not on the page.
    """
    history = History(layout.published)
    with publish_lock(layout, f"ingest {source}"):
        history.recover()
        before = history.served()
        listed = listed_before(layout, source)
        news = [one for one in refused if tuple(one) not in listed]
        if news:
            identity = name_batch([source, *map("\0".join, news)])
            row = empty_row(identity, source, datetime.now(UTC), quarantined=len(news), duplicates=duplicates)
            history.add_refused(row, news)
        show_served(layout, is_addition=True)
        return history.served().version, history.served().version != before.version


def withdraw(layout: Layout) -> Published:
    """Take all images that ``data/removed/<exp>.json`` lists out of tables, staged models and page.

    The caller sees to the shards. It is no error if there is nothing to take out, so this can be repeated.
    """
    history = History(layout.published)
    with publish_lock(layout, "remove images"):
        history.recover()
        before = history.current()
        removed = frozenset(read_id_list(layout.removed))
        if before is None or not removed:
            return (0 if before is None else before.version), False
        for model in layout.published.glob("models/m-*"):
            close_seal(model)  # of a removal that was cut off
        history.withdraw(removed)
        folders = [*layout.published.glob("models/*/report"), *layout.batches.glob("*/thumbnails")]
        n_erased = erase_pictures(folders, removed)
        show_served(layout, force=n_erased > 0)
        history.purge_current()
        return history.served().version, history.served().version != before.version


def show_served(layout: Layout, *, force: bool = False, is_addition: bool = False) -> None:
    """Bring ``current/`` and the page in line with the current version. Callers hold the publish lock.

    Args:
        layout: of the experiment.
        force: compose the page in any case.
        is_addition: whether batches were added and all else is as before.

    Raises:
        PageError: the page could not be composed; readers of the tables see the version all the same.
    """
    History(layout.published).write_current(is_addition=is_addition)
    try:
        refresh_page(layout, force=force)
    except Exception as error:
        version = History(layout.published).served().version
        raise PageError(
            f"version {version} is in service, but its page could not be composed ({reason_of(error)}); mend that and "
            f"run facets report {layout.experiment}"
        ) from error


def refused_model(layout: Layout, experiment: Experiment) -> dict[str, Any] | None:
    """Return the ``model_version`` that was trained last, and the ``reasons`` why the gate keeps it out of service.

    None where it is in service or would be let in, where nobody has tried to publish it yet, or while one is trained.
    """
    trained = layout.artifact("model")
    if not (trained / "model.json").exists():
        return None
    history = History(layout.published)
    model_version, current = read_model_file(trained)["model_version"], history.current()
    is_staged = (history.model_folder(model_version) / "model.json").exists()
    if not is_staged or (current is not None and current.model_version == model_version):
        return None
    reasons = _gate_reasons(history, experiment, model_version)
    return {"model_version": model_version, "reasons": reasons} if reasons else None


def _gate_reasons(history: History, experiment: Experiment, model_version: str) -> list[str]:
    model = read_model_file(history.model_folder(model_version))
    return unhealthy(model, experiment.publish.gate, experiment.train.min_healthy_seeds)


def _require_healthy(history: History, experiment: Experiment, model_version: str) -> None:
    reasons = _gate_reasons(history, experiment, model_version)
    if reasons:
        current = history.current()
        stays = "nothing is published yet" if current is None else f"version {current.version} stays in service"
        raise UnhealthyError(
            f"a model must be healthy to be published, but {model_version} is not: {'; '.join(reasons)}; {stays}; "
            "change the model or train section, or a limit in publish.gate, and rebuild"
        )


def _serve(
    layout: Layout,
    experiment: Experiment,
    model_version: str,
    reason: Literal["publish", "rollback"],
    assign: AssignBatches | None,
) -> Published:
    history, assign = History(layout.published), assign or assigner(layout, experiment.publish.cluster)
    model = history.model_folder(model_version)
    require_sealed(model)
    folders: dict[str, Path] = {}
    while True:
        wanted = history.unassigned(model_version, layout.batches)
        folders |= assign([batch_id for batch_id in wanted if batch_id not in folders], model)
        with publish_lock(layout, f"{reason} {model_version}"):
            history.recover()
            # Batches may have come in meanwhile: then assign those too, without holding the lock.
            if folders.keys() >= set(history.unassigned(model_version, layout.batches)):
                before = history.current()
                if before is not None and before.model_version == model_version:
                    # Files that would say the same are kept, so they must be intact.
                    history.require_sound()
                history.publish_model(
                    model_version,
                    batches=layout.batches,
                    assigned=folders,
                    removed=frozenset(read_id_list(layout.removed)),
                    min_jaccard=experiment.publish.min_jaccard,
                    reason=reason,
                )
                forget_assignments(layout, model_version, list(folders))
                served = history.served()
                if before is None or not layout.history.exists():
                    record_history(layout, served)
                show_served(layout)
                return served.version, before is None or served.version != before.version
