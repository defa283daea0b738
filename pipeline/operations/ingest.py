"""New images become rows: validated, written as a shard, assigned by the model in service, published.

DVC is not involved. A run that was killed is completed by the next one: shards that are not published yet come first.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Shaped

from pipeline.config.sections import Experiment
from pipeline.config.service import DriftParams
from pipeline.core.errors import BusyError, DataError, PipelineError, PublishError, ResourceError
from pipeline.core.folder_seal import require_sealed
from pipeline.core.image_ids import ContentSet, parse_ids
from pipeline.core.input_words import input_noun
from pipeline.core.layout import Layout
from pipeline.core.sealed import read_sealed
from pipeline.core.text import reason_of
from pipeline.core.upgrades import BATCH, read_model_file, read_record
from pipeline.datasets.delivery.delivery import open_delivery
from pipeline.datasets.delivery.preparation import model_section, model_taker
from pipeline.datasets.delivery.shard import ShardResult, write_shard
from pipeline.datasets.files.location import settled, storable
from pipeline.datasets.prepare.id_list import read_id_list
from pipeline.monitoring.drift import measure_drift, read_samples
from pipeline.operations.assign_batch import assigner
from pipeline.operations.locks import batches_lock, publish_lock
from pipeline.operations.publish import PageError, add_batches, add_refused
from pipeline.operations.run_log import log_run
from pipeline.operations.shards import (
    draw_thumbnails,
    recover_shards,
    seal_shard,
    shrink_shard,
    unpublished,
    update_record,
)
from pipeline.operations.tracked import require_lists
from pipeline.tables import History


@dataclass(frozen=True)
class IngestResult:
    """What became of a delivery.

    Attributes:
        experiment: its name.
        source: where the images lay.
        noun: what people call one of them, ``image`` or ``row``.
        batch_id: of the new batch; None where no image was new.
        version: of the published tables.
        n_images: new images.
        duplicates: images whose content the experiment had already, or that came twice in this delivery.
        quarantined: file and reason of every image that was refused.
        drift: score of each facet; None where too few images came in to tell.
        drifted: whether the batch counts as drifted; likewise.
        completed: batches of killed runs that this one published first.
        faults: what failed besides; the rows are in all the same, and a later run mends it.
        seconds: from start to queryable rows.
    """

    experiment: str
    source: str
    noun: str
    batch_id: str | None
    version: int
    n_images: int
    duplicates: int
    quarantined: tuple[tuple[str, str], ...]
    drift: tuple[float, ...] | None
    drifted: bool | None
    completed: tuple[str, ...]
    faults: tuple[str, ...]
    seconds: float

    @property
    def is_unusable(self) -> bool:
        """Whether the delivery held nothing that is or could become a row."""
        return self.n_images == 0 and self.duplicates == 0


def ingest(layout: Layout, experiment: Experiment, location: str, wait_seconds: float = 0.0) -> IngestResult:
    """Add the images of a folder or file to the published tables; content that is there already is not added again.

    Args:
        layout: of the experiment.
        experiment: its parameters.
        location: folder or file of images; path or URL.
        wait_seconds: how long to wait for another ingestion or removal.

    Raises:
        PublishError: nothing is published yet that images could join, or a file of the experiment is damaged.
        DataError: there is nothing at ``location``, or it is damaged as a whole; nothing else is.
        BusyError: another process changes the batches of this experiment.
        ResourceError: the disk is full; the old version stays, and the same call completes the work later.
    """
    start = time.monotonic()
    history = History(layout.published)
    faults: list[str] = []
    location = settled(layout, location)
    with batches_lock(layout, f"ingest {location}", wait_seconds):
        with _own_files():
            version = history.served().version
            noun = input_noun(read_model_file(history.model_folder())["input"])
            require_lists(layout)
            recover_shards(layout)
            _require_content(layout)
            completed = publish_left(layout, experiment, faults)
        shard = _write_shard(layout, experiment, location)
        if shard.batch_id is not None:
            with _own_files():
                publish_batches(layout, experiment, [shard.batch_id], faults)
        elif shard.duplicates and shard.quarantined:  # without either it is no delivery, or no news
            with _own_files():
                _list_refused(layout, storable(location), shard, faults)
    drift = None
    with _afterwards("looking up what became of it", faults):
        version = history.served().version
        if shard.batch_id is not None:
            drift = read_record(layout.batches / shard.batch_id / "batch.json", BATCH).get("drift")
    result = IngestResult(
        experiment=layout.experiment,
        source=storable(location),
        noun=noun,
        batch_id=shard.batch_id,
        version=version,
        n_images=shard.n_images,
        duplicates=shard.duplicates,
        quarantined=tuple(shard.quarantined),
        drift=None if drift is None else tuple(drift["scores"]),
        drifted=None if drift is None else drift["drifted"],
        completed=tuple(completed),
        faults=(),
        seconds=round(time.monotonic() - start, 2),
    )
    with _afterwards("noting it in runs.jsonl", faults):
        log_run(layout.root, "ingest", {**asdict(result), "quarantined": len(result.quarantined), "faults": faults})
    return replace(result, faults=tuple(faults))


def publish_batches(
    layout: Layout, experiment: Experiment, batch_ids: Sequence[str], faults: list[str] | None = None
) -> list[str]:
    """Publish shards that lie on the disk, and return those that held anything to publish. Holds the batches lock.

    What readers of the tables do not need, and what fails once they see the rows, is noted in ``faults``.
    """
    faults = [] if faults is None else faults
    model = History(layout.published).model_folder()
    assign = assigner(layout)
    ready = [batch_id for batch_id in batch_ids if _drop_unwanted(layout, layout.batches / batch_id)]
    for batch_id, assigned in assign(ready, model).items():
        folder = layout.batches / batch_id
        _measure(folder, assigned, model, experiment.ingest.drift)
        with _afterwards(f"drawing thumbnails of {batch_id}", faults):
            draw_thumbnails(folder, model)
        seal_shard(folder)
    if ready:
        try:
            add_batches(layout, ready, assign)
        except PageError as error:
            faults.append(str(error))
    return ready


def _list_refused(layout: Layout, source: str, shard: ShardResult, faults: list[str]) -> None:
    try:
        add_refused(layout, source, shard.quarantined, shard.duplicates)
    except PageError as error:
        faults.append(str(error))


def _require_content(layout: Layout) -> None:
    """Write the files by which content is looked up, where an earlier release published without, or they were lost."""
    history = History(layout.published)
    if history.lacks_content():
        with publish_lock(layout, "write content hashes"):
            history.recover()
            history.write_content()


def publish_left(layout: Layout, experiment: Experiment, faults: list[str]) -> list[str]:
    """Publish what killed runs left, and return it; one that cannot be published holds up no other.

    Holds the batches lock. What fails is noted in ``faults``.
    """
    left = unpublished(layout)
    if not left:
        return []
    try:
        return publish_batches(layout, experiment, left, faults)
    except (BusyError, ResourceError):
        raise
    except PipelineError:
        completed: list[str] = []
    for batch_id in left:
        try:
            completed += publish_batches(layout, experiment, [batch_id], faults)
        except (BusyError, ResourceError):
            raise
        except PipelineError as error:
            faults.append(f"batch {batch_id}, which an earlier run had left, cannot be published: {error}")
    return completed


def _write_shard(layout: Layout, experiment: Experiment, location: str) -> ShardResult:
    with _own_files():
        removed = ContentSet.of_ids(read_id_list(layout.removed))
        known = History(layout.published).content()
        model = History(layout.published).model_folder()
        taker = model_taker(model, layout.root)
        params = replace(experiment.preprocess, brightest=model_section(model, "preprocess").brightest)
    return write_shard(
        layout,
        open_delivery(layout, params, location, experiment.ingest.workers, getattr(taker, "transform", None)),
        taker,
        known=known,
        removed=removed,
        created=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )


@contextmanager
def _own_files() -> Iterator[None]:
    """Tell damage to files of the experiment from damage to what is delivered, which is rejected for it."""
    try:
        yield
    except DataError as error:
        raise PublishError(str(error)) from error


@contextmanager
def _afterwards(doing: str, faults: list[str]) -> Iterator[None]:
    """Note a fault instead of raising it: an error would say that no row was published."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, the rows are worth more
        faults.append(f"{doing} failed ({reason_of(error)})")


def _drop_unwanted(layout: Layout, folder: Path) -> bool:
    """Take out of an unpublished batch what was removed or published otherwise since; tell whether anything is left."""
    removed, known = ContentSet.of_ids(read_id_list(layout.removed)), History(layout.published).content()

    def is_unwanted(ids: Shaped[np.ndarray, " image"]) -> Bool[np.ndarray, " image"]:
        hashes, _ = parse_ids(ids.tolist())
        return removed.has(hashes) | known.has(hashes)

    return shrink_shard(folder, is_unwanted)


def _measure(folder: Path, assigned: Path, model: Path, params: DriftParams) -> None:
    if "drift" not in read_sealed(folder / "batch.json"):
        require_sealed(model, ["model.json", "assignments/test/"])
        n_facets = len(read_model_file(model)["model"]["latent_dims"])
        reference = read_samples(model / "assignments" / "test", n_facets)
        found = measure_drift(reference, read_samples(assigned, n_facets), params)
        update_record(folder, drift=None if found is None else {"scores": list(found.scores), "drifted": found.drifted})
