"""Whether the shards of ingested batches are what they were when they came in."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from pipeline.core.errors import DataError, PipelineError
from pipeline.core.folder_seal import folder_faults, is_folder_sealed
from pipeline.core.image_ids import are_short, parse_ids, shorten
from pipeline.core.layout import Layout
from pipeline.core.parquet import read_columns
from pipeline.core.sealed import read_sealed
from pipeline.datasets.decoding.decode import decode_images
from pipeline.datasets.store.identity import hash_images, hash_rows
from pipeline.datasets.store.images import ImageStore
from pipeline.tables import History

_BLOCK = 256


def shard_faults(layout: Layout) -> list[str]:
    """Return what is wrong with the folders of ingested batches, one line a fault."""
    folders = sorted(layout.batches.glob("b-*"))
    found = [fault for folder in folders for fault in _folder_faults(folder)]
    with suppress(PipelineError):  # of the tables: named elsewhere
        here = {folder.name for folder in folders}
        rows = History(layout.published).rows("batches")
        gone = [row["batch_id"] for row in rows if row["status"] in ("live", "joined") and row["batch_id"] not in here]
        found += [
            f"{layout.batches / batch_id} is missing: its rows are served, but no later model can assign its images; "
            "restore it from a backup, or deliver the images again"
            for batch_id in gone
        ]
    return found


def content_fault(folder: Path) -> str:
    """Return what is wrong with a batch of an earlier release, whose images' ids alone tell; nothing if all is well."""
    try:
        read_sealed(folder / "batch.json")
        listed = read_columns(folder / "images.parquet", ["image_id"])["image_id"].to_pylist()
        read_columns(folder / "quarantine.parquet", ["file", "reason"])
        with ImageStore(folder / "shard.h5") as store:
            ids = store.image_ids().tolist()
            same = ids == listed and all(_matches(store, start) for start in range(0, store.n_images, _BLOCK))
    except (DataError, OSError) as error:
        return str(error)
    return (
        "" if same else f"{folder / 'shard.h5'} must hold the images that its ids and images.parquet name, got others"
    )


def _folder_faults(folder: Path) -> Iterator[str]:
    if is_folder_sealed(folder):
        for name, reason in folder_faults(folder).items():
            lost = (
                "; no computation gives it back: restore it from a backup, or remove the batch and deliver it again"
                if name == "shard.h5"
                else ""
            )
            yield f"{folder / name} {reason}{lost}"
    else:
        yield content_fault(folder) or (
            f"{folder} has no files.json with digests yet; run facets check --repair to write it"
        )


def _matches(store: ImageStore, start: int) -> bool:
    stop = min(start + _BLOCK, store.n_images)
    if not store.is_encoded and store.spec.embedder is not None:  # ids are those of images, which are not kept
        return True
    images = decode_images(store.encoded(start, stop)) if store.is_encoded else store.read(start, stop)
    stated, _ = parse_ids(store.image_ids(start, stop).tolist())
    found = hash_rows(images) if isinstance(images, np.ndarray) and images.dtype == np.float32 else hash_images(images)
    return np.array_equal(np.where(are_short(stated), shorten(found), found), stated)
