import json
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.errors import DataError
from pipeline.core.image_ids import HASH_DTYPE
from pipeline.core.layout import Layout
from pipeline.core.storage import write_json
from pipeline.datasets.decoding.decode import encode_png
from pipeline.datasets.prepare.build import SPLITS, prepare_images
from pipeline.datasets.prepare.catalogue import split_by_content
from pipeline.datasets.prepare.manifest import scan
from pipeline.datasets.prepare.quarantine import Account, read_account, write_quarantine_table
from pipeline.datasets.prepare.tables import write_images_table
from pipeline.datasets.readers.block import Block
from pipeline.datasets.store.identity import batch_id, hash_images
from pipeline.datasets.store.images import ImageStore
from pipeline.datasets.store.labels import read_labels
from pipeline.datasets.store.spec import InputSpec, Split
from pipeline.datasets.store.writer import write_store
from tests.datasets.builders import preprocess
from tests.datasets.fake_source import Fake, Prepare, contents, ids_of, make_block, make_images
from tests.datasets.files import write_mnist


def test_digits_split_as_documented(tmp_path: Path) -> None:
    layout, params = Layout(tmp_path, "digits"), preprocess(test_fraction=0.2)
    assert scan(layout, params)["package"] == "scikit-learn"
    prepare_images(layout, params)
    with ImageStore(layout.prepared / "train.h5") as train, ImageStore(layout.prepared / "test.h5") as test:
        assert (train.n_images, test.n_images) == (1437, 360)
        assert train.spec.shape == (1, 8, 8)
        ids = train.image_ids()
        assert (ids == np.sort(ids)).all()
        assert set(train.batch_ids()) == {"train"}
        assert set(test.batch_ids()) == {"test"}
        assert train.attributes["split_rule"] == test.attributes["split_rule"]
        assert ids.tolist() == ids_of(train.read(0, 1437))
        assert not set(ids) & set(test.image_ids())
        stores: list[tuple[Split, ImageStore]] = [("train", train), ("test", test)]
        for split, store in stores:
            image_ids, labels = read_labels(layout.prepared, split)
            assert (image_ids == store.image_ids()).all()
            assert list(labels) == ["digit"]
    assert sorted(path.name for path in layout.prepared.iterdir()) == [
        "hints.json",
        "images.parquet",
        "labels.parquet",
        "quarantine.parquet",
        "test.h5",
        "train.h5",
    ]


def test_the_source_keeps_its_own_split(tmp_path: Path) -> None:
    content = write_mnist(tmp_path / "data/raw/mnist")
    layout, params = Layout(tmp_path, "mnist"), preprocess(source="mnist")
    scan(layout, params)
    prepare_images(layout, params)
    with ImageStore(layout.prepared / "test.h5") as store:
        assert sorted(store.image_ids()) == sorted(ids_of(content["t10k-images-idx3-ubyte"][:, None]))
    images = pq.read_table(layout.prepared / "images.parquet").to_pylist()
    assert images[0]["path"] == f"train-images-idx3-ubyte[{images[0]['position']}]"
    assert [row["batch_id"] for row in images] == ["train"] * 30 + ["test"] * 10
    assert {(row["height"], row["width"]) for row in images} == {(4, 4)}


def test_labels_follow_their_images(prepare: Prepare) -> None:
    images = make_images(50)
    first_pixel = images[:, 0, 0, 0].astype(np.int32)
    block = make_block(
        images, labels={"pixel": first_pixel, "half": np.where(first_pixel < 128, -1, 3).astype(np.int32)}
    )
    prepared = prepare(block, names={"half": ["a", "b", "c", "d"]})
    for split in SPLITS:
        ids, labels = read_labels(prepared, split)
        with ImageStore(prepared / f"{split}.h5") as store:
            pixels = store.read(0, store.n_images)
            assert (ids == store.image_ids()).all()
        assert (labels["pixel"] == pixels[:, 0, 0, 0]).all()
        assert (labels["half"] == np.where(pixels[:, 0, 0, 0] < 128, -1, 3)).all()
    metadata = pq.read_schema(prepared / "labels.parquet").metadata
    assert json.loads(metadata[b"class_names"]) == {"half": ["a", "b", "c", "d"]}
    assert pq.read_table(prepared / "labels.parquet")["half"].null_count > 0


def test_without_labels_the_table_has_ids_alone(prepare: Prepare) -> None:
    prepared = prepare(make_block(make_images(10)))
    assert pq.read_table(prepared / "labels.parquet").column_names == ["image_id", "split"]
    assert read_labels(prepared, "train")[1] == {}


def test_order_blocks_and_names_change_nothing(prepare: Prepare) -> None:
    images, labels = make_images(30), np.arange(30, dtype=np.int32)
    order = np.random.default_rng(1).permutation(30)
    prepared = prepare(make_block(images, labels={"place": labels}))
    before = contents(prepared)
    pieces = [
        Block(images=list(images[some]), paths=["other"] * len(some), labels={"place": labels[some]})
        for some in np.array_split(order, 4)
    ]
    after = contents(prepare(*pieces))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"images.parquet"}


def test_copies_get_numbers_and_stay_together(prepare: Prepare) -> None:
    images = np.repeat(make_images(20), 3, axis=0)
    prepared = prepare(make_block(images))
    rows = pq.read_table(prepared / "images.parquet").to_pylist()
    assert len({row["image_id"] for row in rows}) == 60
    for row in rows:
        assert row["image_id"][34:] == ["", "-2", "-3"][row["position"] % 3]
    sides: dict[str, set[str]] = {}
    for row in rows:
        sides.setdefault(row["image_id"][:18], set()).add(row["batch_id"])
    assert all(len(side) == 1 for side in sides.values())


def test_images_of_differing_sizes_come_to_one(prepare: Prepare) -> None:
    mixed = [make_images(1, (1, 6 + i, 9))[0] for i in range(8)]
    prepared = prepare(make_block(mixed), size=(5, 3))
    with ImageStore(prepared / "train.h5") as store:
        assert store.spec.shape == (1, 5, 3)
        ids = set(store.image_ids())
    rows = pq.read_table(prepared / "images.parquet").to_pylist()
    assert sorted((row["height"], row["width"]) for row in rows) == [(6 + i, 9) for i in range(8)]
    assert ids <= {ids_of(image[None])[0] for image in mixed}


def test_hashes_and_sizes_of_the_reader_are_taken(prepare: Prepare) -> None:
    hashes = np.array([bytes([i]) * 16 for i in range(1, 11)], HASH_DTYPE)
    known = {"known_hashes": hashes, "known_shapes": np.tile(np.int32([1, 70, 80]), (10, 1))}
    prepared = prepare(make_block(make_images(10), **known), size=(4, 4))
    rows = pq.read_table(prepared / "images.parquet").to_pylist()
    assert sorted(row["image_id"] for row in rows) == [f"i-{bytes([i]).hex() * 16}" for i in range(1, 11)]
    assert {(row["height"], row["width"]) for row in rows} == {(70, 80)}


def test_rejected_files_are_listed(prepare: Prepare) -> None:
    rejected = [("bad.png", "is empty"), ("worse.png", "is a FIFO")]
    nothing = Block(images=[], paths=[], rejected=rejected[1:])
    prepared = prepare(make_block(make_images(10), rejected=rejected[:1]), nothing)
    rows = pq.read_table(prepared / "quarantine.parquet").to_pylist()
    assert [(row["file"], row["reason"]) for row in rows] == rejected


def test_the_images_of_a_source_are_accounted_for(prepare: Prepare, tmp_path: Path) -> None:
    images = make_images(20)
    images[5:8] = images[4]
    rejected = [("a.png", "is empty (0 bytes)"), ("b.png", "has 70×80 pixels"), ("c.png", "has 70×90 pixels")]
    account = read_account(prepare(make_block(images, rejected=rejected)))
    assert account == Account(23, {"has 70×… pixels": 2, "is empty (0 bytes)": 1}, copies=3, removed=0)
    assert account.text == (
        "3 of 23 set aside: 2 × has 70×… pixels; 1 × is empty (0 bytes); 3 of 23 are exact copies of others"
    )
    write_json(Layout(tmp_path, "fake").removed, [ids_of(images[:1])[0], f"{ids_of(images[4:5])[0]}-2"])
    account = read_account(prepare(make_block(images)))
    assert account == Account(20, {}, copies=0, removed=5)
    assert account.text == "none of 20 set aside; 5 of 20 were removed from the experiment before"


def test_tables_without_counts_give_no_account(tmp_path: Path) -> None:
    assert read_account(tmp_path) is None
    write_quarantine_table(tmp_path / "quarantine.parquet", [("a.png", "is empty")])
    assert read_account(tmp_path) is None
    (tmp_path / "quarantine.parquet").write_bytes(b"PAR1 cut")
    assert read_account(tmp_path) is None


def write_batch(layout: Layout, images: Sequence[np.ndarray], *, encoded: bool = False) -> str:
    ids = np.array([ids_of(image[None])[0] for image in images])
    name = batch_id(ids.tolist())
    folder = layout.batches / name
    folder.mkdir(parents=True)
    spec = None if encoded else InputSpec.pixels(images[0].shape)  # pyright: ignore[reportArgumentType]
    with write_store(folder / "shard.h5", spec, source="folder", split_rule="batch") as w:
        pixels: Any = [encode_png(image) for image in images] if encoded else np.stack(images)
        w.append(pixels, ids, np.array([name] * len(ids)))
    sizes = np.array([image.shape[1:] for image in images], np.int32)
    write_images_table(
        folder / "images.parquet",
        ids,
        np.array([name] * len(ids)),
        np.arange(len(ids)),
        pa.array([f"new/{i}.png" for i in range(len(ids))]),
        sizes,
    )
    return name


@pytest.mark.parametrize("encoded", [False, True])
def test_joined_images_train_and_the_test_split_stays(prepare: Prepare, tmp_path: Path, encoded: bool) -> None:
    layout, images = Layout(tmp_path, "fake"), make_images(20)
    block = make_block(images, labels={"digit": np.zeros(20, np.int32)})
    prepared = prepare(block)
    test_before = (prepared / "test.h5").read_bytes()
    more = (
        [make_images(1, (1, 4 + 4 * i, 4), seed=5 + i)[0] for i in range(3)] if encoded else [*make_images(3, seed=5)]
    )
    name = write_batch(layout, [*more, images[0]] if not encoded else more, encoded=encoded)
    write_json(layout.joined, [name])
    prepare(block)
    assert (prepared / "test.h5").read_bytes() == test_before
    with ImageStore(prepared / "train.h5") as store:
        assert store.n_images == 15 + 3  # what the source has already is not added again
        assert store.batch_ids(15).tolist() == [name] * 3
        assert store.image_ids(15).tolist() == sorted(ids_of(image[None])[0] for image in more)
        joined_pixels = dict(zip(store.image_ids(15), store.read(15, 18), strict=True))
    for image in more[:1] if encoded else more:  # the others were brought to the source's size
        assert (joined_pixels[ids_of(image[None])[0]] == image).all()
    _, labels = read_labels(prepared, "train")
    assert labels["digit"].tolist() == [0] * 15 + [-1] * 3
    rows = pq.read_table(prepared / "images.parquet").to_pylist()
    assert {row["path"] for row in rows if row["batch_id"] == name} == {"new/0.png", "new/1.png", "new/2.png"}


def test_a_joined_batch_that_cannot_take_the_sources_shape_is_refused(prepare: Prepare, tmp_path: Path) -> None:
    """Two channels are neither grey nor RGB, so nothing turns one into them."""
    layout, block = Layout(tmp_path, "fake"), make_block(make_images(20, (2, 4, 4)))
    before = (prepare(block) / "train.h5").read_bytes()
    name = write_batch(layout, [*make_images(3, (1, 4, 4), seed=5)])
    write_json(layout.joined, [name])
    with pytest.raises(
        DataError, match=rf"{name}/shard\.h5 must hold images that become \(2, 4, 4\) .*got \(1, 4, 4\)"
    ):
        prepare(block)
    assert (layout.prepared / "train.h5").read_bytes() == before
    assert [path.name for path in layout.prepared.parent.iterdir()] == ["fake"]


def test_removed_images_are_left_out(prepare: Prepare, tmp_path: Path) -> None:
    images = make_images(20)
    prepared = prepare(make_block(images))
    before = {split: read_labels(prepared, split)[0].tolist() for split in SPLITS}
    gone = [before["train"][3], before["test"][0]]
    write_json(Layout(tmp_path, "fake").removed, gone)
    prepare(make_block(images))
    after = {split: read_labels(prepared, split)[0].tolist() for split in SPLITS}
    assert after == {split: [i for i in before[split] if i not in gone] for split in before}


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    values=st.lists(st.integers(0, 8), min_size=4, max_size=25),
    cuts=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    fraction=st.floats(0.1, 0.6),
)
def test_every_image_is_in_exactly_one_place(
    prepare: Prepare, values: list[int], cuts: list[int], fraction: float
) -> None:
    images = np.array(values, np.uint8)[:, None, None, None] * np.ones((1, 1, 2, 2), np.uint8)
    blocks = [
        make_block(part) for part in np.split(images, sorted({min(c, len(values) - 1) for c in cuts})) if len(part)
    ]
    n_test = split_by_content(hash_images(images), fraction, 0).sum()
    if n_test in (0, len(values)):
        with pytest.raises(DataError, match="split needs at least one image"):
            prepare(*blocks, test_fraction=fraction)
        return
    prepared = prepare(*blocks, test_fraction=fraction)
    found: list[int] = []
    for split in ("train", "test"):
        with ImageStore(prepared / f"{split}.h5") as store:
            found += store.read(0, store.n_images)[:, 0, 0, 0].tolist()
    assert sorted(found) == sorted(values)


def test_memory_does_not_grow_with_the_number_of_images(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.datasets.readers.block.BLOCK_BYTES", 2**20)
    images = make_images(256, (3, 32, 32))

    class Stream(Sequence[Block]):
        """Blocks that exist only while they are read."""

        def __init__(self, n: int) -> None:
            self.n = n

        def __len__(self) -> int:
            return self.n

        def __getitem__(self, index: Any) -> Any:
            if index >= self.n:
                raise IndexError
            fresh = images.copy()
            fresh[:, 0, 0, 0] = index
            return make_block(fresh)

    def peak(n: int) -> int:
        monkeypatch.setattr(Fake, "n_images", lambda self: n * 256)
        monkeypatch.setattr(Fake, "blocks", lambda self: (Stream(n)[i] for i in range(n)))
        tracemalloc.start()
        prepare()
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    few, many = peak(4), peak(16)  # 3 and 12 MiB of pixels
    assert many - few < 12 * 256 * 400  # a few hundred bytes an image, an eighth of its pixels
