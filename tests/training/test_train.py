"""Stage train on a prepared split: the folder that it writes, seeds that never lose each other's work."""

import csv
import json
import logging
import os
import shutil
import signal
import threading
import time
from dataclasses import asdict, replace
from importlib import import_module

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pipeline.core.errors import DataError, ModelError, ResourceError
from pipeline.core.layout import Layout
from pipeline.core.text import percent
from pipeline.datasets.store.images import ImageStore
from pipeline.model import load_model
from pipeline.model.checkpoint import model_version, weights_path
from pipeline.training import SeedOutcome, health, initialise, select_seed, train, train_in_memory
from pipeline.training.engine import TrainingEngine
from pipeline.training.history import columns
from pipeline.training.runtime import Runtime
from tests.model.builders import SPEC, TINY
from tests.training.builders import INIT, TRAIN, Killed, assert_same_state, phase, uint8_images
from tests.training.prepared import prepare, prepare_split

pytestmark = pytest.mark.no_shapes  # of the stage; its parts have tests of their own

SEEDS = (0, 1, 2)
SHORT = replace(TRAIN, phases=(phase(1), phase(2, 0.5)))
train_module = import_module("pipeline.training.train")


@pytest.fixture(autouse=True, scope="module")
def _any_variation_counts():
    """So short a training leaves latents that hardly vary; here that is no collapse."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(health, "_ACTIVE_RATIO", 0.0)
        yield


@pytest.fixture(scope="module")
def initialised(tmp_path_factory):
    layout = Layout(tmp_path_factory.mktemp("root"), "tiny")
    prepare(layout)
    initialise(layout, (*SEEDS, 3), TINY, INIT, "cpu")
    return layout


@pytest.fixture
def layout(initialised, tmp_path):
    shutil.copytree(initialised.root, tmp_path / "root")
    return Layout(tmp_path / "root", "tiny")


@pytest.fixture(scope="module")
def trained(initialised, tmp_path_factory):
    """An undisturbed run."""
    root = tmp_path_factory.mktemp("trained") / "root"
    shutil.copytree(initialised.root, root)
    layout = Layout(root, "tiny")
    train(layout, SEEDS, TINY, SHORT)
    return layout


def description_of(layout):
    return json.loads((layout.artifact("model") / "model.json").read_text())


def files_of(layout):
    return {path.name: path.read_bytes() for path in layout.artifact("model").iterdir()}


def test_the_description_says_what_was_trained(trained):
    description = description_of(trained)
    outcomes = [SeedOutcome.from_description(record) for record in description["seeds"]]
    selected = select_seed(outcomes, 1)
    weights = load_file(weights_path(trained.artifact("model"), selected.seed))
    assert description["selected_seed"] == selected.seed
    assert description["model_version"] == model_version(weights, TINY)
    assert description["model"] == json.loads(json.dumps(asdict(TINY)))
    assert (description["input"], description["n_train"]) == (SPEC.describe(), 60)
    assert description["trained_on"] == ["b-0123456789ab", "train"]
    assert description["runtime"] == {"device": "cpu", "precision": "float32", "threads": 1}
    assert description["selection"]["criterion"] == "doubt"
    assert f"least in doubt, {percent(selected.doubt)} of" in description["selection"]["reason"]
    assert [outcome.seed for outcome in outcomes] == list(SEEDS)


@pytest.mark.parametrize(("fraction", "images"), [(0.2, "held-out images"), (0.0, "training images")])
def test_the_description_says_what_the_bound_is_of(fraction, images, layout):
    train(layout, SEEDS[:1], TINY, replace(SHORT, validation_fraction=fraction))
    assert description_of(layout)["bound_on"] == images


def test_every_seed_has_weights_and_a_history(trained):
    assert files_of(trained).keys() == {
        *("model.json", "clusters.json", "groups.json", "history.csv", "epochs.npz"),
        *(f"seed-{seed}.safetensors" for seed in SEEDS),
    }
    with (trained.artifact("model") / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == columns(2)
    assert [(row["seed"], row["epoch"], row["phase"]) for row in rows if row["split"] == "validation"] == [
        (str(seed), str(epoch), str(int(epoch > 0))) for seed in SEEDS for epoch in range(3)
    ]
    assert load_model(trained.artifact("model"), 1).n_facets == 2


def test_the_clusters_of_some_held_out_images_are_kept_for_every_epoch(trained):
    with np.load(trained.artifact("model") / "epochs.npz") as kept, ImageStore(trained.prepared / "train.h5") as store:
        images = torch.from_numpy(store.take(kept["rows"]))
        assert len(kept["rows"]) == int(60 * TRAIN.validation_fraction)
        for seed in SEEDS:
            assert kept[f"seed_{seed}"].shape == (3, 2, len(images))
            model = load_model(trained.artifact("model"), seed)
            ends = [model.log_resp(j, qz, "exact").argmax(-1).tolist() for j, qz in enumerate(model.encode(images))]
            assert kept[f"seed_{seed}"][-1].tolist() == ends


def test_without_held_out_images_those_of_the_test_split_are_watched_and_change_nothing(layout):
    everything = replace(SHORT, validation_fraction=0.0)
    train(layout, SEEDS, TINY, everything)
    files = files_of(layout)
    with np.load(layout.artifact("model") / "epochs.npz") as kept:
        assert (str(kept["split"]), kept["rows"].tolist()) == ("test", list(range(60)))
        assert kept["seed_0"].shape == (3, 2, 60)
    prepare_split(layout, "test", uint8_images(6, seed=9))
    train(layout, SEEDS, TINY, everything)
    again = files_of(layout)
    assert {name for name in files if files[name] != again[name]} == {"epochs.npz"}


def test_mixing_weights_of_the_selected_seed_lie_beside_it(trained):
    facets = json.loads((trained.artifact("model") / "clusters.json").read_text())["facets"]
    model = load_model(trained.artifact("model"))
    for facet, record in enumerate(facets):
        assert record["mixing_weights"] == pytest.approx(model.mixture(facet).weights.tolist(), rel=1e-5)


def test_nothing_but_the_outputs_is_left(trained):
    assert not list((trained.root / ".work").rglob("*.pt"))


def test_trained_in_memory_is_the_same(trained, initialised):
    """The estimator's way: no file, the same bits."""
    before = torch.get_num_threads()
    for one in train_in_memory(uint8_images(60), SPEC, SEEDS, TINY, INIT, SHORT, False):
        weights = load_file(weights_path(trained.artifact("model"), one.outcome.seed))
        assert_same_state(one.state, weights)
    assert torch.get_num_threads() == before


class Chunks:
    """Counts the engine's chunks and raises an error after so many."""

    def __init__(self, patch, most=-1, error=None):
        self.ran, self._most, self._error = 0, most, error
        run = TrainingEngine.run

        def counted(engine, chunk):
            if self.ran == self._most:
                raise self._error
            self.ran += 1
            return run(engine, chunk)

        patch.setattr(TrainingEngine, "run", counted)


def train_interrupted(layout, seeds, chunks, error):
    with pytest.MonkeyPatch.context() as patch:
        Chunks(patch, chunks, error)
        train(layout, seeds, TINY, SHORT)


def test_a_killed_stage_goes_on_and_gives_the_same_files(layout, trained, monkeypatch):
    """Killed in the second seed; the first one is not trained again."""
    with pytest.raises(Killed):
        train_interrupted(layout, SEEDS, 4, Killed())
    assert not layout.artifact("model").exists()
    chunks = Chunks(monkeypatch)
    train(layout, SEEDS, TINY, SHORT)
    assert chunks.ran == 2 * 3
    assert files_of(layout) == files_of(trained)


def test_a_new_seed_keeps_the_work_on_the_others(layout, monkeypatch):
    with pytest.raises(Killed):
        train_interrupted(layout, (0, 1, 2), 2 * 3, Killed())
    chunks = Chunks(monkeypatch)
    train(layout, (0, 1, 3), TINY, SHORT)
    assert chunks.ran == 3


def test_work_on_another_start_is_not_used(layout, monkeypatch):
    with pytest.raises(Killed):
        train_interrupted(layout, (0, 1), 3, Killed())
    initialise(layout, (0, 1), TINY, replace(INIT, reg_covar=1e-3), "cpu")
    chunks = Chunks(monkeypatch)
    train(layout, (0, 1), TINY, SHORT)
    assert chunks.ran == 2 * 3


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate"
        ),
    ],
)
def test_a_seed_out_of_memory_keeps_the_finished_ones(layout, trained, error, monkeypatch):
    message = r"seed 1 of tiny must fit into memory, but cpu ran out of it; finished seeds are kept, lower"
    with pytest.raises(ResourceError, match=message):
        train_interrupted(layout, SEEDS, 4, error)
    chunks = Chunks(monkeypatch)
    train(layout, SEEDS, TINY, SHORT)
    assert chunks.ran == 2 * 3
    assert files_of(layout) == files_of(trained)


def test_seeds_that_do_not_fit_side_by_side_are_halved(layout, trained, monkeypatch, caplog):
    """All seeds together as on a GPU, until they fit."""
    monkeypatch.setattr(train_module, "seed_groups", lambda seeds, _: [tuple(seeds)])
    run = TrainingEngine.run

    def crowded(engine, chunk):
        if engine.model.n_seeds > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return run(engine, chunk)

    monkeypatch.setattr(TrainingEngine, "run", crowded)
    with caplog.at_level(logging.WARNING):
        train(layout, SEEDS, TINY, SHORT)
    assert "3 seeds side by side exceed the memory: training 1 and 2" in caplog.text
    assert files_of(layout) == files_of(trained)


def test_other_errors_are_not_taken_for_a_lack_of_memory(layout):
    with pytest.raises(RuntimeError, match="something else"):
        train_interrupted(layout, SEEDS, 0, RuntimeError("something else"))


def test_one_failed_seed_among_healthy_ones(layout, monkeypatch):
    """Its weights are the last good ones, the stage succeeds and says what happened."""
    run = TrainingEngine.run

    def spoiled(engine, chunk):
        if chunk.epoch == 1 and engine._seeds == (1,):
            with torch.no_grad():
                engine.model.prior(1).means.fill_(float("nan"))
        return run(engine, chunk)

    monkeypatch.setattr(TrainingEngine, "run", spoiled)
    train(layout, SEEDS, TINY, SHORT)
    records = description_of(layout)["seeds"]
    assert [record["healthy"] for record in records] == [True, False, True]
    assert (
        records[1]["reason"] == "the KL terms of facet 1 was not finite in phase 1, step 6; kept the last good weights"
    )
    assert records[1]["validation_elbo"] is None
    assert description_of(layout)["selected_seed"] != 1
    weights = load_file(weights_path(layout.artifact("model"), 1))
    assert all(torch.isfinite(value).all() for value in weights.values())


def test_too_few_healthy_seeds_keep_the_work_but_write_nothing(layout, monkeypatch):
    with pytest.raises(ModelError, match=r"asks for 3 healthy seeds, got 0 \(seed 0: facet \d collapsed"):
        train(layout, SEEDS, TINY, replace(SHORT, min_healthy_seeds=3, min_entropy=1.0))
    assert not layout.artifact("model").exists()
    assert len(list((layout.root / ".work").rglob("done-*.pt"))) == 3


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"experiment": "other"}, ModelError, r"must have schema 2 and experiment tiny, got 2 and 'other'; run stage"),
        ({"schema": 7}, ModelError, r"must have schema 2 and experiment tiny, got 7 and 'tiny'"),
        ({"seeds": [{"seed": 0}]}, ModelError, r"must hold the seeds \[0, 1, 2\], but \[1, 2\] are missing"),
    ],
)
def test_foreign_starts_are_refused(layout, change, error, message):
    path = layout.artifact("init") / "init.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(error, match=message):
        train(layout, SEEDS, TINY, SHORT)


def test_a_start_of_another_architecture_is_refused(layout):
    with pytest.raises(ModelError, match=r"must hold the model of params\.yaml, but .* rebuild the experiment"):
        train(layout, SEEDS, replace(TINY, n_components=(4, 4)), SHORT)


def test_missing_inputs_are_named(layout):
    (layout.prepared / "train.h5").unlink()
    with pytest.raises(DataError, match=r"train\.h5"):
        train(layout, SEEDS, TINY, SHORT)
    shutil.rmtree(layout.artifact("init"))
    with pytest.raises(DataError, match=r"init\.json is missing; run the stage that writes it"):
        train(layout, SEEDS, TINY, SHORT)


def test_a_gpu_trains_all_seeds_side_by_side():
    cuda, cpu = (Runtime(torch.device(name), torch.float32) for name in ("cuda", "cpu"))
    assert train_module.seed_groups(SEEDS, cuda) == [SEEDS]
    assert train_module.seed_groups(SEEDS, cpu) == [(0,), (1,), (2,)]


def test_seeds_beside_each_other_end_as_one_after_the_other(layout, trained, monkeypatch):
    """Two threads, so that two seeds train at once and then the third; the steps are too small to be shared."""
    at_once = set()
    run = TrainingEngine.run

    def watched(engine, chunk):
        at_once.add(threading.current_thread().name)
        return run(engine, chunk)

    monkeypatch.setattr(TrainingEngine, "run", watched)
    torch.set_num_threads(2)
    try:
        train(layout, SEEDS, TINY, SHORT)
    finally:
        torch.set_num_threads(1)
    assert {"seed_0", "seed_1"} < at_once
    for seed in SEEDS:
        one, other = (weights_path(each.artifact("model"), seed).read_bytes() for each in (layout, trained))
        assert one == other


def test_an_interrupted_training_in_memory_leaves_no_seed_behind(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    endless = replace(SHORT, phases=tuple(replace(phase, epochs=10**4) for phase in SHORT.phases))
    before = set(threading.enumerate())
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # pytest-xdist's workers ignore it
    timer = threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            train_in_memory(uint8_images(60), SPEC, SEEDS, TINY, INIT, endless, False)
    finally:
        signal.signal(signal.SIGINT, handler)
    deadline = time.monotonic() + 20.0
    while set(threading.enumerate()) - before - {timer} and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not set(threading.enumerate()) - before - {timer}
