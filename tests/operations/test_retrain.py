"""The policy, and what it joins."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config.service import ScheduleParams
from pipeline.core.errors import ConfigError, PublishError
from pipeline.core.layout import Layout
from pipeline.core.storage import write_json
from pipeline.operations.ingest import ingest
from pipeline.operations.remove import remove
from pipeline.operations.retrain import plan_retrain, retrain
from tests.operations.test_ingest import save
from tests.operations.tiny import EXPERIMENT, Tiny, new_images


def limits(images: int = 1000, drifted: int = 1000, days: int = 1000) -> ScheduleParams:
    return ScheduleParams("0 3 * * *", "0 5 * * 0", "UTC", 2.0, images, drifted, days, 10.0)


def test_each_limit_is_a_reason_with_its_numbers(tiny: Tiny, tmp_path: Path) -> None:
    first = ingest(tiny.layout, tiny.params, save(tmp_path / "a.npy", new_images(30))).batch_id
    second = ingest(tiny.layout, tiny.params, save(tmp_path / "b.npy", 255 - new_images(40, seed=2))).batch_id
    model = tiny.history.model_folder() / "model.json"
    os.utime(model, (0, time.time() - 5.5 * 86400))
    plan = plan_retrain(tiny.layout, limits())
    assert (plan.reasons, plan.waiting, plan.joining) == ((), (first, second), ())
    assert plan.facts[0] == "70 of 1000 new images"
    assert plan_retrain(tiny.layout, limits(images=71)).reasons == ()
    assert plan_retrain(tiny.layout, limits(images=70)).reasons == ("70 of 70 new images",)
    assert plan_retrain(tiny.layout, limits(drifted=3)).reasons == ()
    assert plan_retrain(tiny.layout, limits(drifted=2)).reasons == ("2 of 2 drifted batches",)
    assert plan_retrain(tiny.layout, limits(days=6)).reasons == ()
    due = plan_retrain(tiny.layout, limits(days=5))
    assert due.reasons == ("6 of 5 days since the model was trained",)
    assert due.joining == (first, second)
    assert plan_retrain(tiny.layout, limits(), force=True).reasons == ("asked for: 2 batches with 70 images waiting",)


def test_without_new_images_nothing_is_due_and_a_joined_batch_asks_to_be_finished(tiny: Tiny, tmp_path: Path) -> None:
    assert plan_retrain(tiny.layout, limits(images=1, drifted=1, days=1), force=True).reasons == ()
    batch_id = ingest(tiny.layout, tiny.params, save(tmp_path / "a.npy", new_images(30))).batch_id
    assert batch_id is not None
    write_json(tiny.layout.joined, [batch_id])
    plan = plan_retrain(tiny.layout, limits(images=1))
    assert (plan.waiting, plan.joining, plan.unfinished) == ((), (), (batch_id,))
    assert plan.reasons == ("the model in service was not trained on 1 batch that joined before",)
    remove(tiny.layout, [batch_id])
    assert plan_retrain(tiny.layout, limits(images=1)).reasons == ()


@pytest.mark.parametrize("has_joined", [False, True], ids=["live", "joined"])
def test_a_batch_whose_images_all_lie_in_the_source_waits_for_nothing_and_keeps_its_shard(
    tiny: Tiny, tmp_path: Path, has_joined: bool
) -> None:
    images = new_images(30)
    batch_id = ingest(tiny.layout, tiny.params, save(tmp_path / "a.npy", images)).batch_id
    assert batch_id is not None
    everything = tiny.image_ids()
    if has_joined:
        write_json(tiny.layout.joined, [batch_id])
    source = tiny.root / "data" / "own" / "images.npz"
    original = source.read_bytes()
    with np.load(source) as arrays:
        grown: dict[str, Any] = {
            name: np.concatenate([of, images if of.ndim == 3 else of[:30]]) for name, of in arrays.items()
        }
    np.savez(source, **grown)
    tiny.rebuild()
    assert (tiny.image_ids(), tiny.image_ids(batch_id)) == (everything, [])
    (row,) = [row for row in tiny.history.rows("batches") if row["batch_id"] == batch_id]
    assert (row["status"], row["n_images"], row["duplicates"]) == ("empty", 0, 30)
    assert plan_retrain(tiny.layout, limits(images=1), force=True).reasons == ()
    # A later delivery completes what killed runs left: this batch is none of it.
    ingest(tiny.layout, tiny.params, save(tmp_path / "b.npy", 255 - new_images(25, seed=2)))
    assert (tiny.layout.batches / batch_id / "shard.h5").exists()
    source.write_bytes(original)
    tiny.rebuild()
    assert len(tiny.image_ids()) == len(everything) + 25
    assert len(tiny.image_ids(batch_id)) == 30


def test_only_an_active_published_experiment_is_retrained(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(PublishError, match=r"must hold a published version, got none"):
        plan_retrain(Layout(tmp_path, EXPERIMENT), limits())
    with pytest.raises(ConfigError, match=r"experiment 'nothing' is unknown"):
        retrain(tiny.root, "nothing")
