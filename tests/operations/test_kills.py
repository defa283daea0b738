"""kill -9 during ingest and remove: afterwards each image is in exactly once, or gone exactly as asked."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.datasets.prepare import read_id_list
from pipeline.operations.ingest import ingest
from pipeline.operations.remove import remove
from tests.operations.killing import kill_after, moments, seconds_of
from tests.operations.test_ingest import save
from tests.operations.tiny import Tiny, new_images

KILLS = [pytest.param(3, id="3"), pytest.param(20, id="20", marks=pytest.mark.soak)]


@pytest.mark.parametrize("n_kills", KILLS)
def test_ingest(tiny_template: Tiny, tmp_path: Path, n_kills: int) -> None:
    path = save(tmp_path / "new.npy", new_images(60))
    trial = tiny_template.copy(tmp_path / "trial")
    longest = seconds_of(lambda: ingest(trial.layout, trial.params, path))
    expected = trial.image_ids()
    n_killed = 0
    for number, moment in enumerate(moments(n_kills, longest, seed=n_kills)):
        tiny = tiny_template.copy(tmp_path / str(number))
        n_killed += kill_after(moment, lambda tiny=tiny: ingest(tiny.layout, tiny.params, path))
        other = save(tmp_path / "other.npy", np.concatenate([new_images(60)[:10], new_images(5, seed=8)]))
        ingest(tiny.layout, tiny.params, other)
        result = ingest(tiny.layout, tiny.params, path)
        assert result.n_images + result.duplicates == 60
        images = tiny.image_ids()
        assert len(images) == len(set(images)) == len(expected) + 5
        assert set(expected) < set(images)
        assert not [folder for folder in tiny.layout.batches.iterdir() if folder.name.startswith(".")]
    assert n_killed > 0


@pytest.mark.parametrize("n_kills", KILLS)
def test_remove(tiny_template: Tiny, tmp_path: Path, n_kills: int) -> None:
    full = tiny_template.copy(tmp_path / "full")
    whole = ingest(full.layout, full.params, save(tmp_path / "a.npy", new_images(30))).batch_id
    part = ingest(full.layout, full.params, save(tmp_path / "b.npy", new_images(30, seed=2))).batch_id
    assert whole is not None
    assert part is not None
    gone = {*full.image_ids(whole), *full.image_ids(part)[:7], full.image_ids("test")[0]}
    singles = sorted(gone - {*full.image_ids(whole)})
    expected = sorted(set(full.image_ids()) - gone)
    trial = full.copy(tmp_path / "trial")
    longest = seconds_of(lambda: remove(trial.layout, [whole], singles))
    assert trial.image_ids() == expected
    n_killed = 0
    for number, moment in enumerate(moments(n_kills, longest, seed=n_kills)):
        tiny = full.copy(tmp_path / str(number))
        n_killed += kill_after(moment, lambda tiny=tiny: remove(tiny.layout, [whole], singles))
        assert set(tiny.image_ids()) >= set(expected)
        remove(tiny.layout, [whole], singles)
        assert tiny.image_ids() == expected
        assert set(read_id_list(tiny.layout.removed)) == gone
        assert [folder.name for folder in tiny.layout.batches.iterdir()] == [part]
    assert n_killed > 0
