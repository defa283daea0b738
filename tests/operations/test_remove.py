"""Removal: gone from shards, parts, pictures and assignments, and not coming back."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.errors import ConfigError
from pipeline.core.storage import read_json, write_json
from pipeline.datasets.prepare.id_list import read_id_list
from pipeline.datasets.store.images import ImageStore
from pipeline.operations.ingest import ingest
from pipeline.operations.remove import carry_out_removals, remove
from tests.operations.test_ingest import save
from tests.operations.tiny import Tiny, new_images


def bytes_below(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_a_batch_leaves_everything_and_does_not_come_back(tiny: Tiny, tmp_path: Path) -> None:
    before = tiny.image_ids()
    path = save(tmp_path / "a.npy", new_images(40))
    batch_id = ingest(tiny.layout, tiny.params, path).batch_id
    assert batch_id is not None
    gone = tiny.image_ids(batch_id)
    write_json(tiny.layout.joined, [batch_id])
    result = remove(tiny.layout, [batch_id])
    assert sorted(result.image_ids) == gone == read_id_list(tiny.layout.removed)
    assert result.changed_batches == (batch_id,)
    assert tiny.image_ids() == before
    assert list(tiny.layout.batches.iterdir()) == []
    assert read_id_list(tiny.layout.joined) == []
    assert not any(image_id.encode() in bytes_below(tiny.layout.published) for image_id in gone[:3])
    (row,) = [row for row in tiny.history.rows("batches") if row["batch_id"] == batch_id]
    assert (row["status"], row["n_images"]) == ("removed", 0)
    again = ingest(tiny.layout, tiny.params, path)
    assert (again.n_images, len(again.quarantined)) == (0, 40)
    assert "was removed from this experiment" in again.quarantined[0][1]


def test_single_images_leave_the_shard_and_the_source_and_ids_stay(tiny: Tiny, tmp_path: Path) -> None:
    batch_id = ingest(tiny.layout, tiny.params, save(tmp_path / "a.npy", new_images(40))).batch_id
    assert batch_id is not None
    old_shard = tiny.layout.batches / batch_id
    with ImageStore(old_shard / "shard.h5") as store:
        images = dict(zip(store.image_ids().tolist(), store.read(0, 40), strict=True))
    before = tiny.image_ids()
    from_batch, from_source = tiny.image_ids(batch_id)[3], tiny.image_ids("train")[0]
    result = remove(tiny.layout, image_ids=[from_batch, from_source])
    assert set(result.image_ids) == {from_batch, from_source}
    assert set(before) - set(tiny.image_ids()) == {from_batch, from_source}
    with ImageStore(old_shard / "shard.h5") as store:
        assert set(images) - set(store.image_ids().tolist()) == {from_batch}
        for image_id, image in zip(store.image_ids().tolist(), store.read(0, 39), strict=True):
            np.testing.assert_array_equal(image, images[image_id])
    assert read_json(old_shard / "batch.json")["n_images"] == 39
    assert from_batch not in read_json(old_shard / "thumbnails" / "page.json")["images"]["ids"]
    for folder in (tiny.layout.batches, tiny.layout.published):
        everything = bytes_below(folder)
        assert from_batch.encode() not in everything
        assert from_source.encode() not in everything
    assert result.lingers[0] == "data/prepared/tiny"


def test_a_batch_that_shares_images_with_the_source_gives_way_and_is_removed_only_on_purpose(
    tiny: Tiny, tmp_path: Path
) -> None:
    images = new_images(40)
    batch_id = ingest(tiny.layout, tiny.params, save(tmp_path / "a.npy", images)).batch_id
    assert batch_id is not None
    everything = tiny.image_ids()
    source = tiny.root / "data" / "own" / "images.npz"
    with np.load(source) as arrays:
        grown: dict[str, Any] = {
            name: np.concatenate(
                [values, images[:15].reshape(15, *values.shape[1:]) if values.ndim > 1 else values[:15]]
            )
            for name, values in arrays.items()
        }
    np.savez(source, **grown)
    tiny.rebuild()
    assert tiny.image_ids() == everything
    assert len(tiny.image_ids(batch_id)) == 25
    (row,) = [row for row in tiny.history.rows("batches") if row["batch_id"] == batch_id]
    assert (row["status"], row["n_images"], row["duplicates"]) == ("live", 25, 15)
    with pytest.raises(ConfigError, match=r"holds 15 such of 40 images, which would be left out .* for good"):
        remove(tiny.layout, [batch_id])
    assert read_id_list(tiny.layout.removed) == []
    assert len(remove(tiny.layout, [batch_id], from_source=True).image_ids) == 40
    assert len(tiny.image_ids()) == len(everything) - 40


def test_all_copies_of_a_content_go(tiny: Tiny) -> None:
    source = tiny.root / "data" / "own" / "images.npz"
    with np.load(source) as arrays:
        doubled: Any = {name: np.concatenate([values, values[:1]]) for name, values in arrays.items()}
    np.savez(source, **doubled)
    from pipeline.operations.scan import scan_source
    from stages import preprocess

    scan_source(tiny.layout, tiny.params.preprocess)
    preprocess.run(tiny.layout, tiny.params)  # knows the copy; the published tables do not
    import pandas as pd

    ids = pd.read_parquet(tiny.layout.prepared / "images.parquet")["image_id"]
    (copy,) = [image_id for image_id in ids if image_id.endswith("-2")]
    result = remove(tiny.layout, image_ids=[copy])
    assert set(result.image_ids) == {copy, copy.removesuffix("-2")}
    assert len(tiny.image_ids()) == 119
    preprocess.run(tiny.layout, tiny.params)
    assert len(pd.read_parquet(tiny.layout.prepared / "images.parquet")) == 119


def test_a_removal_cut_off_after_the_list_is_completed(tiny: Tiny, tmp_path: Path) -> None:
    batch_id = ingest(tiny.layout, tiny.params, save(tmp_path / "a.npy", new_images(10))).batch_id
    assert batch_id is not None
    gone = tiny.image_ids(batch_id)
    write_json(tiny.layout.removed, gone)
    carry_out_removals(tiny.layout)
    assert len(tiny.image_ids()) == 120
    assert list(tiny.layout.batches.iterdir()) == []
    repeated = remove(tiny.layout, [batch_id])
    assert (repeated.image_ids, repeated.changed_batches) == ((), ())


@pytest.mark.parametrize(
    ("batches", "images", "error", "message"),
    [
        ([], [], ConfigError, r"needs --batch or --image, got neither"),
        (["train"], [], ConfigError, r"must be an ingested one \(b-…\), got 'train'"),
        (
            ["b-000000000000"],
            [],
            ConfigError,
            r"a batch to remove must be one of experiment tiny, got 'b-000000000000'",
        ),
        ([], ["i-0123456789abcdef"], ConfigError, r"an image to remove must be one of experiment tiny, got 'i-0123"),
    ],
)
def test_what_is_not_there_cannot_be_removed(
    tiny_template: Tiny, batches: list[str], images: list[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        remove(tiny_template.layout, batches, images)
    assert read_id_list(tiny_template.layout.removed) == []
