"""kill -9 during ingest, remove and retrain: then each image is in exactly once, or gone exactly as asked."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from benchmarks.machine import describe_machine
from pipeline.datasets.prepare.id_list import read_id_list
from pipeline.operations import retrain as retrain_module
from pipeline.operations.ingest import ingest
from pipeline.operations.remove import remove
from pipeline.operations.retrain import retrain
from tests.operations.killing import kill_after, moments, seconds_of
from tests.operations.test_ingest import save
from tests.operations.tiny import EXPERIMENT, Tiny, new_images
from tests.repository import PROJECT

pytestmark = pytest.mark.no_cover  # again and again what other tests cover

KILLS = [pytest.param(2, id="2"), pytest.param(20, id="20", marks=pytest.mark.soak)]
RESULTS = PROJECT / "benchmarks" / "results" / "kills.json"

Work = Callable[[Tiny], object]


def kill_each(start: Tiny, folder: Path, n_kills: int, work: Work, check: Callable[[Tiny], None]) -> list[bool]:
    """Kill ``work`` on one copy of an experiment after another, at moments spread over its duration.

    Returns:
        Whether it was still running when it was killed.
    """
    trial = start.copy(folder / "trial")
    longest = seconds_of(lambda: work(trial))
    check(trial)
    cut_off = []
    for number, moment in enumerate(moments(n_kills, longest, seed=n_kills)):
        tiny = start.copy(folder / str(number))
        cut_off.append(kill_after(moment, lambda tiny=tiny: work(tiny)))
        check(tiny)
    assert any(cut_off)
    return cut_off


def record(operation: str, cut_off: list[bool]) -> None:
    """Note the result of a long run."""
    if len(cut_off) > 3:
        result = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        result[operation] = {"kills": len(cut_off), "cut_off": sum(cut_off), "each_image_once": True}
        result |= {"command": "make soak", "machine": describe_machine()}
        RESULTS.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")


@pytest.mark.parametrize("n_kills", KILLS)
def test_ingest(tiny_template: Tiny, tmp_path: Path, n_kills: int) -> None:
    path = save(tmp_path / "new.npy", new_images(60))
    other = save(tmp_path / "other.npy", np.concatenate([new_images(60)[:10], new_images(5, seed=8)]))
    before = tiny_template.image_ids()

    def check(tiny: Tiny) -> None:
        ingest(tiny.layout, tiny.params, other)
        result = ingest(tiny.layout, tiny.params, path)
        assert result.n_images + result.duplicates == 60
        images = tiny.image_ids()
        assert len(images) == len(set(images)) == len(before) + 65
        assert set(before) < set(images)
        assert not [folder for folder in tiny.layout.batches.iterdir() if folder.name.startswith(".")]

    record(
        "ingest",
        kill_each(tiny_template, tmp_path, n_kills, lambda tiny: ingest(tiny.layout, tiny.params, path), check),
    )


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

    def check(tiny: Tiny) -> None:
        assert set(tiny.image_ids()) >= set(expected)
        remove(tiny.layout, [whole], singles)
        assert tiny.image_ids() == expected
        assert set(read_id_list(tiny.layout.removed)) == gone
        assert [folder.name for folder in tiny.layout.batches.iterdir()] == [part]

    record("remove", kill_each(full, tmp_path, n_kills, lambda tiny: remove(tiny.layout, [whole], singles), check))


@pytest.mark.parametrize("n_kills", KILLS)
def test_retrain(tiny_template: Tiny, tmp_path: Path, n_kills: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without DVC, whose runs tests/stages/test_interrupted.py kills."""
    full = tiny_template.copy(tmp_path / "full")
    keep_one_seed(full.root / "params.yaml")
    joining = ingest(full.layout, full.params, save(tmp_path / "a.npy", new_images(30))).batch_id
    expected = full.image_ids()
    batch = full.image_ids(joining)
    monkeypatch.setattr(retrain_module, "rebuild", rebuild_without_dvc)

    def check(tiny: Tiny) -> None:
        assert tiny.image_ids() == expected
        retrain(tiny.root, EXPERIMENT, force=True)
        assert tiny.image_ids() == expected
        assert tiny.image_ids(joining) == batch
        assert read_id_list(tiny.layout.joined) == [joining]
        assert [row["status"] for row in tiny.history.rows("batches") if row["batch_id"] == joining] == ["joined"]
        assert retrain(tiny.root, EXPERIMENT, force=True).plan.reasons == ()

    record(
        "retrain",
        kill_each(full, tmp_path, n_kills, lambda tiny: retrain(tiny.root, EXPERIMENT, force=True), check),
    )


def rebuild_without_dvc(root: Path, *_: object) -> None:
    Tiny(root).rebuild()


def keep_one_seed(path: Path) -> None:
    params = yaml.safe_load(path.read_text())
    params["experiments"][EXPERIMENT]["seeds"] = [0]
    path.write_text(yaml.safe_dump(params, sort_keys=False))
