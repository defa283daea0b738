"""The shard of a delivery: its new images, once each, in an immutable folder named by their content."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.errors import DataError
from pipeline.core.image_ids import HASH_BITS, ID_DTYPE, ContentLookup
from pipeline.core.layout import Layout
from pipeline.core.progress import progress
from pipeline.core.sealed import read_sealed, write_sealed
from pipeline.core.storage import as_resource_error, atomic_dir, temporary_dir, write_json
from pipeline.core.upgrades import BATCH
from pipeline.datasets.decoding.decode import decode_images
from pipeline.datasets.decoding.transform import ImageTransform
from pipeline.datasets.delivery.delivery import Delivery
from pipeline.datasets.delivery.feature_store import FeatureStore
from pipeline.datasets.delivery.growing_store import GrowingStore, new_ids
from pipeline.datasets.delivery.sieve import Sieve
from pipeline.datasets.delivery.taker import Taker
from pipeline.datasets.files.location import storable
from pipeline.datasets.prepare.quarantine import write_quarantine_table
from pipeline.datasets.prepare.tables import write_images_table
from pipeline.datasets.store.hdf5_writer import write_hdf5
from pipeline.datasets.store.identity import batch_id, renew_ids
from pipeline.datasets.store.images import ImageStore
from pipeline.datasets.store.writer import create_store
from pipeline.table_format.ids import id_column

_BLOCK = 256


@dataclass(frozen=True)
class ShardResult:
    """What became of a delivery.

    Attributes:
        batch_id: of the shard; None where no image was new.
        n_images: new images in the shard.
        duplicates: images whose content the experiment, or the delivery itself, has already.
        quarantined: (file, reason) of images that were refused.
    """

    batch_id: str | None
    n_images: int
    duplicates: int
    quarantined: list[tuple[str, str]]


@dataclass
class _Rows:
    """What is known of the images in a shard, beside their pixels."""

    hashes: list[bytes] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


def write_shard(
    layout: Layout,
    delivery: Delivery,
    transform: Taker,
    *,
    known: ContentLookup,
    removed: ContentLookup,
    created: str,
) -> ShardResult:
    """Write ``data/batches/<experiment>/<batch_id>/``.

    It holds ``shard.h5``, ``images.parquet``, ``quarantine.parquet`` and ``batch.json``. The folder appears whole or
    not at all; the same new images in any order give the same folder, which is left alone where it exists.

    Args:
        layout: of the experiment.
        delivery: read to its end.
        transform: to what the model takes; images that it cannot take are refused.
        known: content of all images of the experiment.
        removed: content of images that must not come back.
        created: time of the delivery, ISO 8601.

    Raises:
        DataError: the delivery is damaged as a whole, or holds rows where images are due, or other rows.
        ResourceError: the disk is full; nothing is left behind.
    """
    with as_resource_error(layout.batches), temporary_dir(layout.batches / "incoming") as folder:
        _require_kind(delivery, transform)
        sieve = Sieve(transform, known, removed)
        rows = _write_images(folder / "shard.h5", delivery, transform, sieve)
        if not rows.hashes:
            return ShardResult(None, 0, sieve.duplicates, sieve.quarantined)
        identity = _write_tables(folder, rows, sieve)
        result = ShardResult(identity, len(rows.hashes), sieve.duplicates, sieve.quarantined)
        write_json(folder / "batch.json", _describe(result, storable(delivery.location), created))
        target = layout.batches / identity
        if not (target / "batch.json").exists():
            with atomic_dir(target) as final:
                for file in folder.iterdir():
                    file.rename(final / file.name)
        return result


def copy_shard(source: Path, target: Path, drop: Sequence[str]) -> int:
    """Write a shard anew without some images; the batch keeps its id.

    The images keep theirs; those that an earlier release gave them become ids of today.

    Args:
        source: folder of the shard.
        target: folder to write; it appears whole or not at all.
        drop: ids of the images to leave out.

    Returns:
        How many images are left; with none, nothing is written.

    Raises:
        DataError: the shard is damaged.
    """
    with ImageStore(source / "shard.h5") as store:
        ids, batches = store.image_ids().astype(f"U{ID_DTYPE.itemsize}"), store.batch_ids()
        kept = np.flatnonzero(~np.isin(ids, np.array(list(drop), dtype=ids.dtype)))
        if not len(kept):
            return 0
        spec = None if store.is_encoded else store.spec
        with atomic_dir(target) as folder:
            shutil.copyfile(source / "quarantine.parquet", folder / "quarantine.parquet")
            record = BATCH.upgrade(read_sealed(source / "batch.json"), str(source / "batch.json"))
            is_old = record["id_bits"] < HASH_BITS
            write_sealed(folder / "batch.json", {**record, "n_images": len(kept), "id_bits": HASH_BITS})
            with create_store(
                folder / "shard.h5", spec, **_attributes(store), picture_shape=store.picture_shape
            ) as writer:
                for start in range(0, store.n_images, _BLOCK):
                    some = kept[(kept >= start) & (kept < start + _BLOCK)]
                    stop = min(start + _BLOCK, store.n_images)
                    images: Any = store.encoded(start, stop) if store.is_encoded else store.read(start, stop)
                    left = [images[row - start] for row in some] if store.is_encoded else images[some - start]
                    if is_old:
                        pixels = decode_images(left) if store.is_encoded else left
                        ids[some] = renew_ids(ids[some], pixels)
                    seen = None if store.picture_shape is None else store.read_pictures(start, stop)[some - start]
                    writer.append(left, ids[some], batches[some], seen)
            table = pq.read_table(source / "images.parquet").take(pa.array(kept))
            place = table.schema.get_field_index("image_id")
            table = table.set_column(place, table.schema.field(place), id_column(ids[kept]))
            pq.write_table(table, folder / "images.parquet")
    return len(kept)


def _attributes(store: ImageStore) -> dict[str, str]:
    return {name: str(store.attributes[name]) for name in ("source", "split_rule")}


def _require_kind(delivery: Delivery, transform: Taker) -> None:
    location = storable(delivery.location)
    if not isinstance(transform, ImageTransform):
        transform.require(location, delivery.row_width)
    elif delivery.row_width is not None:
        raise DataError(
            f"{location} must hold images, as the model in service takes, got rows of {delivery.row_width} numbers; "
            "deliver images"
        )


def _write_images(path: Path, delivery: Delivery, transform: Taker, sieve: Sieve) -> _Rows:
    rows = _Rows()
    is_pixels = isinstance(transform, ImageTransform)
    store = GrowingStore(path, delivery) if is_pixels else FeatureStore(path, delivery, transform)
    noun = "image" if delivery.row_width is None else "row"
    with progress(f"read new {noun}s", delivery.n_images, noun) as bar, store as shard:
        for block in delivery.blocks:
            new = sieve.new_images(block)
            shard.append(new)
            rows.hashes += new.hashes.tolist()
            rows.sizes += new.shapes[:, 1:].tolist()
            rows.paths += new.paths
            bar.advance(len(block.paths) + len(block.rejected))
    return rows


def _write_tables(folder: Path, rows: _Rows, sieve: Sieve) -> str:
    ids = new_ids(rows.hashes).astype(str)
    identity = batch_id(ids)
    batches = np.full(len(ids), identity.encode(), "S14")
    with write_hdf5(folder / "shard.h5", "r+") as (file, _):
        column: Any = file["batch_id"]
        column[:] = batches
    sizes = np.array(rows.sizes, np.int32).reshape(-1, 2)
    paths = pa.array(rows.paths, pa.string())
    write_images_table(folder / "images.parquet", ids, batches, np.arange(len(ids), dtype=np.int64), paths, sizes)
    write_quarantine_table(folder / "quarantine.parquet", sieve.quarantined)
    return identity


def _describe(result: ShardResult, location: str, created: str) -> dict[str, Any]:
    return BATCH.stamp(
        {
            "id": result.batch_id,
            "created": created,
            "source": location,
            "n_images": result.n_images,
            "id_bits": HASH_BITS,
            "quarantined": len(result.quarantined),
            "duplicates": result.duplicates,
        }
    )
