"""Images leave for good: a bad delivery, or a request to delete.

``data/removed/<exp>.json`` comes first: from then on nothing brings the images back. What follows can be repeated, so
a run that was killed is completed by the next one.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Shaped

from pipeline.asking.sheet import delete_sheets
from pipeline.core.errors import ConfigError, DataError
from pipeline.core.image_ids import ContentSet, parse_ids, short_ids
from pipeline.core.layout import Layout
from pipeline.core.storage import write_json
from pipeline.core.text import counted
from pipeline.datasets.prepare.id_list import read_id_list
from pipeline.operations.assign_batch import forget_assignments_of
from pipeline.operations.locks import batches_lock, publish_lock
from pipeline.operations.publish import withdraw
from pipeline.operations.run_log import log_run
from pipeline.operations.shards import draw_thumbnails, recover_shards, shard_folders, shrink_shard
from pipeline.operations.tracked import remember_tracked, require_lists
from pipeline.table_format.ids import content_hashes
from pipeline.tables import History, read
from pipeline.tables.batches import EMPTY
from pipeline.tables.parts import read_ids

_SOURCE_BATCHES = ("train", "test")


@dataclass(frozen=True)
class RemoveResult:
    """What was removed.

    Attributes:
        experiment: its name.
        image_ids: that were on no list before this call.
        version: of the published tables; 0 where nothing is published.
        changed_batches: ingested batches that lost images.
        lingers: folders that hold removed images until the next rebuild and ``tidy``.
    """

    experiment: str
    image_ids: tuple[str, ...]
    version: int
    changed_batches: tuple[str, ...]
    lingers: tuple[str, ...]


def remove(
    layout: Layout,
    batch_ids: Sequence[str] = (),
    image_ids: Sequence[str] = (),
    wait_seconds: float = 0.0,
    *,
    from_source: bool = False,
) -> RemoveResult:
    """Remove images, with all copies of the same content, from everything and for good.

    Args:
        layout: of the experiment.
        batch_ids: ingested batches of which all images go.
        image_ids: single images.
        wait_seconds: how long to wait for an ingestion or another removal.
        from_source: a person has agreed that images of the batches which lie in the source, too, are left out for good.

    Raises:
        ConfigError: neither a batch nor an image is named, one is unknown, or a batch is ``train`` or ``test``, or
            holds images that lie in the source; nothing is removed.
        BusyError: another process changes the batches of this experiment.
    """
    if not batch_ids and not image_ids:
        raise ConfigError("a removal needs --batch or --image, got neither; copy the ids from the tables")
    for batch_id in batch_ids:
        if batch_id in _SOURCE_BATCHES:
            raise ConfigError(
                f"a batch to remove must be an ingested one (b-…), got {batch_id!r}; remove single images of it, or "
                "change the source"
            )
    with batches_lock(layout, "remove images", wait_seconds):
        require_lists(layout)
        recover_shards(layout)
        new = _extend_list(layout, batch_ids, image_ids, from_source=from_source)
        changed, version = _carry_out(layout)
    result = RemoveResult(layout.experiment, tuple(new), version, tuple(changed), tuple(lingering(layout)))
    log_run(layout.root, "remove", {**asdict(result), "image_ids": len(result.image_ids)})
    return result


def carry_out_removals(layout: Layout, wait_seconds: float = 0.0) -> None:
    """Complete removals that were cut off; without any, do nothing.

    Raises:
        BusyError: another process changes the batches of this experiment.
    """
    with batches_lock(layout, "complete removals", wait_seconds):
        recover_shards(layout)
        if read_id_list(layout.removed):
            _carry_out(layout)


def lingering(layout: Layout) -> list[str]:
    """Return the folders below the root that still hold removed images, until the next rebuild and ``tidy``."""
    table = layout.prepared / "images.parquet"
    if not table.exists() or not _removed(layout).has(content_hashes(read_ids(table))).any():
        return []
    folders = [layout.prepared, layout.artifact("assignments"), layout.artifact("report"), layout.root / ".dvc/cache"]
    return [str(folder.relative_to(layout.root)) for folder in folders if folder.exists()]


def _extend_list(layout: Layout, batch_ids: Sequence[str], image_ids: Sequence[str], *, from_source: bool) -> list[str]:
    """Put all copies of the images on the list and return the ids that are new there."""
    all_ids, all_batches = _known_images(layout)
    all_hashes, _ = parse_ids(all_ids.tolist())
    known, listed = ContentSet(all_hashes), _removed(layout)
    for image_id in image_ids:
        if not (_has(known, image_id) or _has(listed, image_id)):
            raise ConfigError(
                f"an image to remove must be one of experiment {layout.experiment}, got {image_id!r}; copy the id from "
                "the tables"
            )
    known_batches = set(all_batches.tolist())
    statuses = {row["batch_id"]: row["status"] for row in History(layout.published).rows("batches")}
    for batch_id in batch_ids:
        if statuses.get(batch_id) == EMPTY and batch_id not in known_batches:
            raise ConfigError(
                f"a batch to remove must hold images, but {batch_id} holds no image, only names of files that were "
                "refused; leave it out"
            )
        if statuses.get(batch_id) != "removed" and batch_id not in known_batches:
            raise ConfigError(
                f"a batch to remove must be one of experiment {layout.experiment}, got {batch_id!r}; see facets "
                f"batches {layout.experiment}"
            )
    chosen = np.unique(all_hashes[np.isin(all_batches, list(batch_ids))])
    if not from_source:
        is_shared = ContentSet(all_hashes[np.isin(all_batches, _SOURCE_BATCHES)]).has(chosen)
        _require_none_shared(layout, batch_ids, int((is_shared & ~listed.has(chosen)).sum()), len(chosen))
    leaving = ContentSet(np.concatenate([chosen, parse_ids(image_ids)[0]]))
    new = _without_old_names(all_ids[leaving.has(all_hashes) & ~listed.has(all_hashes)])
    if new:
        with publish_lock(layout, "list removed images"):
            write_json(layout.removed, sorted({*read_id_list(layout.removed), *new}))
            remember_tracked(layout, layout.removed)
    return new


def _require_none_shared(layout: Layout, batch_ids: Sequence[str], n_shared: int, n_images: int) -> None:
    if n_shared:
        raise ConfigError(
            f"a batch to remove must hold no image that lies in the source, too, but {', '.join(batch_ids)} holds "
            f"{n_shared} such of {counted(n_images, 'image')}, which would be left out of experiment "
            f"{layout.experiment} for good; leave the batch, as facets rebuild {layout.experiment} publishes them "
            "once, with the source, or say --from-source to remove them all the same"
        )


def _known_images(layout: Layout) -> tuple[Shaped[np.ndarray, " image"], Shaped[np.ndarray, " image"]]:
    """Return image ids and batch ids of everything published, prepared or ingested."""
    import pandas as pd

    columns = ["image_id", "batch_id"]
    files = [layout.prepared / "images.parquet", *(folder / "images.parquet" for folder in shard_folders(layout))]
    tables = [pd.read_parquet(path, columns=columns) for path in files if path.exists()]
    if History(layout.published).current() is not None:
        tables.append(read(layout.experiment, "images", columns=columns, root=layout.root))
    if not tables:
        return np.empty(0, np.str_), np.empty(0, np.str_)
    table = pd.concat(tables).drop_duplicates()
    return table["image_id"].to_numpy(np.str_), table["batch_id"].to_numpy(np.str_)


def _removed(layout: Layout) -> ContentSet:
    return ContentSet.of_ids(read_id_list(layout.removed))


def _has(known: ContentSet, image_id: str) -> bool:
    with suppress(DataError):  # no image has such an id
        return bool(known.has(parse_ids([image_id])[0])[0])
    return False


def _without_old_names(ids: Shaped[np.ndarray, " image"]) -> list[str]:
    """Return ids, sorted, without those that an earlier release gave to images which are among them by today's too."""
    unique = np.unique(ids)
    old = short_ids(unique.tolist())
    return unique[(unique != old) | ~np.isin(unique, old[unique != old])].tolist()


def _carry_out(layout: Layout) -> tuple[list[str], int]:
    """Bring shards, joined batches, tables and page in line with the list; return changed batches and the version."""
    removed = _removed(layout)
    changed: list[str] = []
    for folder in shard_folders(layout):
        found = removed.has(content_hashes(read_ids(folder / "images.parquet")))
        if found.any():
            changed.append(folder.name)
            if found.all():
                # Before the shard goes: stage preprocess insists on the shards of the list.
                _leave_training(layout, folder.name)
            shrink_shard(folder, lambda ids: removed.has(parse_ids(ids.tolist())[0]))
            forget_assignments_of(layout, folder.name)
    history = History(layout.published)
    if history.current() is not None:
        for folder in shard_folders(layout):
            draw_thumbnails(folder, history.model_folder())
    version, _ = withdraw(layout)
    delete_sheets(layout.ask)
    return changed, version


def _leave_training(layout: Layout, batch_id: str) -> None:
    joined = read_id_list(layout.joined)
    if batch_id in joined:
        write_json(layout.joined, [other for other in joined if other != batch_id])
        remember_tracked(layout, layout.joined)
