from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from pipeline.assignment import assign_shards, shards_of_store
from pipeline.assignment.assign import _MOST_WAITING
from pipeline.core.errors import DataError
from pipeline.datasets.store.images import ImageStore
from pipeline.datasets.store.writer import write_store
from pipeline.model import FrozenModel, load_model
from tests.assignment.shards import PARAMS, read_files, write_model, write_shards
from tests.model.builders import SHAPE, SPEC
from tests.tables.builders import make_ids


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "model")


def test_rows_are_the_model_s_assignments_in_the_order_of_the_store(tmp_path, model):
    (shard,) = write_shards(tmp_path, 1)
    seen = []
    assign_shards([shard], model, PARAMS, None, seen.append)
    assert seen == [5, 5, 2]
    with ImageStore(shard.store) as store:
        ids, images = store.image_ids(), torch.from_numpy(store.read(0, 12))
    for facet, expected in enumerate(load_model(model).assign(images)):
        rows = pq.read_table(shard.folder / f"facet_{facet}.parquet")
        assert rows["image_id"].to_pylist() == ids.tolist()
        np.testing.assert_array_equal(rows["cluster_id"], expected.cluster_id)
        np.testing.assert_allclose(rows["confidence"], expected.confidence, atol=0.02)


def test_a_batch_in_several_runs_is_one_file(tmp_path, model):
    path = tmp_path / "train.h5"
    with write_store(path, SPEC, source="test", split_rule="all") as writer:
        for number, batch_id in enumerate(("train", "b-0", "train")):
            writer.append(np.zeros((4, *SHAPE), np.uint8), make_ids(4, 4 * number), np.full(4, batch_id, "S14"))
    shards = shards_of_store(path, tmp_path / "assigned")
    assert [(shard.batch_id, shard.runs) for shard in shards] == [("train", ((0, 4), (8, 12))), ("b-0", ((4, 8),))]
    assign_shards(shards, model, PARAMS, None, lambda _: None)
    ids = pq.read_table(tmp_path / "assigned" / "train" / "facet_0.parquet")["image_id"].to_pylist()
    assert ids == [*make_ids(4), *make_ids(4, 8)]


def test_an_executor_gives_the_same_files(tmp_path, model):
    shards = write_shards(tmp_path, 6)
    assign_shards(shards, model, PARAMS, None, lambda _: None)
    elsewhere = [replace(shard, folder=tmp_path / "elsewhere" / shard.batch_id) for shard in shards]
    seen = []
    with ThreadPoolExecutor(2) as executor:
        assign_shards(elsewhere, model, PARAMS, executor, seen.append)
    assert sum(seen) == 72
    assert len(read_files(tmp_path / "assigned")) == 12
    assert read_files(tmp_path / "assigned") == read_files(tmp_path / "elsewhere")


def test_an_executor_is_not_flooded(tmp_path, model, monkeypatch):
    monkeypatch.setattr("pipeline.assignment.assign._MOST_WAITING", 2)
    assert _MOST_WAITING > 2
    waiting, most = set(), []

    class Watched(ThreadPoolExecutor):
        def submit(self, *call):
            future = super().submit(*call)
            waiting.add(future)
            most.append(sum(not one.done() for one in waiting))
            return future

    with Watched(1) as executor:
        assign_shards(write_shards(tmp_path, 7), model, PARAMS, executor, lambda _: None)
    assert len(waiting) == 7
    assert max(most) <= 2


def test_a_damaged_shard_leaves_no_file(tmp_path, model):
    shards = write_shards(tmp_path, 2)
    shards[1].store.write_bytes(b"no HDF5")
    for executor in (None, ThreadPoolExecutor(1)):
        with pytest.raises(DataError, match=r"1\.h5 must be a complete HDF5 file"):
            assign_shards(shards, model, PARAMS, executor, lambda _: None)
        assert not shards[1].folder.exists()


def test_doubtful_images_are_settled_in_float32(tmp_path, model):
    low, exact = load_model(model, precision=torch.bfloat16), load_model(model)
    images = torch.randint(0, 256, (400, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    crude = [low.log_resp(j, qz).argmax(1).numpy() for j, qz in enumerate(low.encode(images))]
    settled, expected = low.assign(images, keep_resp=True), exact.assign(images, keep_resp=True)
    assert any((one != two.cluster_id).any() for one, two in zip(crude, expected, strict=True))
    for one, two in zip(settled, expected, strict=True):
        np.testing.assert_array_equal(one.cluster_id, two.cluster_id)
        margin = np.diff(np.log(np.sort(two.resp, axis=1)[:, -2:]))[:, 0]
        # Doubtful rows are encoded apart from the others, and a product over fewer rows may sum in another order.
        np.testing.assert_allclose(one.resp[margin < 0.02], two.resp[margin < 0.02], rtol=1e-5)
    assert isinstance(low, FrozenModel)
