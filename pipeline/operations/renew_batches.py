"""Batches that an earlier release ingested get the image ids of today, as long as their pixels are at hand.

Their published rows keep the ids that they have until another model assigns the batch; both kinds of ids are matched.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pipeline.core.errors import DataError
from pipeline.core.image_ids import HASH_BITS
from pipeline.core.layout import Layout
from pipeline.core.upgrades import BATCH, read_record
from pipeline.operations.assign_batch import forget_assignments_of
from pipeline.operations.locks import batches_lock
from pipeline.operations.shards import draw_thumbnails, recover_shards, renew_shard
from pipeline.tables import History


def renew_batches(layout: Layout, wait_seconds: float = 0.0) -> list[str]:
    """Write shards with ids of earlier releases anew; the batches keep theirs, and damaged shards are left alone.

    Args:
        layout: of the experiment.
        wait_seconds: how long to wait for an ingestion or a removal.

    Returns:
        The batches whose images have other ids now.

    Raises:
        BusyError: there is something to do, but another process changes the batches of this experiment.
        ResourceError: the disk is full; what was renewed is whole.
    """
    renewed: list[str] = []
    if next(_outdated(layout), None) is not None:
        with batches_lock(layout, "renew image ids", wait_seconds):
            recover_shards(layout)
            history = History(layout.published)
            for folder in list(_outdated(layout)):
                with suppress(DataError):  # its ids are matched all the same, and a check names the damage
                    forget_assignments_of(layout, folder.name)  # first: a run that is cut off must not leave them
                    renew_shard(folder)
                    renewed.append(folder.name)
                    if history.current() is not None:
                        draw_thumbnails(folder, history.model_folder())
    return renewed


def _outdated(layout: Layout) -> Iterator[Path]:
    for path in sorted(layout.batches.glob("b-*/batch.json")):
        with suppress(DataError):
            if read_record(path, BATCH)["id_bits"] < HASH_BITS:
                yield path.parent
