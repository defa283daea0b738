"""Chunks of a schedule against a plain program, side by side and alone, from memory and from the disk."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import distributions as td

from pipeline.datasets.store.writer import write_store
from pipeline.model.checkpoint import seed_state
from pipeline.training import engine as engine_module
from pipeline.training import images as images_module
from pipeline.training.batches import chunk_noise, epoch_order
from pipeline.training.engine import TrainingEngine
from pipeline.training.images import DiskImages, load_training_images
from tests import oracles
from tests.model.builders import FAMILIES, SPEC, TINY
from tests.training.builders import TRAIN, assert_same_state, phase, started_model, training_images, uint8_images

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: run them on a machine with one")


def make_engine(params=TINY, seeds=(0,), train=TRAIN, dtype=torch.float64, images=None):
    images = images or training_images(params=params)
    return TrainingEngine(started_model(params, seeds, dtype), seeds, images, train, dtype)


def run_all(engine):
    return np.concatenate([engine.run(chunk) for chunk in engine.schedule.chunks()])


def test_two_epochs_against_a_plain_program():
    """Order, noise, pixels, coefficients, loss, both rates and Adam, for each seed of two."""
    train = replace(TRAIN, phases=(phase(2),), kl_weight=0.3, kl_epochs=1)
    engine = make_engine(seeds=(0, 1), train=train)
    start = [seed_state(engine.model, index) for index in range(2)]
    assert all((value != start[1][name]).any() for name, value in start[0].items())
    record = run_all(engine)
    images, rows = uint8_images().double().flatten(1) / 255, training_images().train_rows
    for seed in range(2):
        state = {name: value.requires_grad_() for name, value in start[seed].items()}
        groups = [{"params": [v for n, v in state.items() if n.startswith(p)]} for p in ("network", "priors")]
        adam = torch.optim.Adam(groups, lr=0.0, betas=(0.9, 0.95))
        for chunk in engine.schedule.chunks():
            order = rows[epoch_order(seed, chunk.epoch, engine.schedule, len(rows))]
            noise = chunk_noise(seed, chunk, (1, 8, 5), torch.device("cpu"), torch.float64)
            for i in range(chunk.n_steps):
                step = chunk.start + i
                rate = 1e-2 * min(1, (step + 1) / 3) * (1 + np.cos(np.pi * step / 6)) / 2
                for group, times in zip(adam.param_groups, (1.0, 5.0), strict=True):
                    group["lr"] = rate * times
                facets = [part[0] for part in noise[i].split((2, 3), -1)]
                weight = 0.3 if chunk.epoch == 0 else 1.0
                bound = oracles.two_facet_dense_bound(
                    state,
                    images[order[i]],
                    facets,
                    torch.ones(2),
                    TINY.rung_gate,
                    lambda raw: td.Bernoulli(logits=raw, validate_args=False),
                    weight,
                )
                if weight == 1.0:
                    assert record[step, seed] @ (1, -1, -1) == pytest.approx(bound.mean().item(), rel=1e-5)
                adam.zero_grad()
                (-bound.mean()).backward()
                adam.step()
        # Rates live in single precision: 6e-8 of a step of 1e-2, a few steps long.
        for name, value in seed_state(engine.model, seed).items():
            torch.testing.assert_close(value, state[name].detach(), rtol=0, atol=1e-7, msg=name)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_seed_among_others_trains_as_in_its_solo_run(family):
    """Through both phases, in float64."""
    params = FAMILIES[family]
    together = make_engine(params, (3, 8, 5))
    record = run_all(together)
    for index, seed in ((0, 3), (1, 8)):
        alone = make_engine(params, (seed,))
        np.testing.assert_allclose(run_all(alone)[:, 0], record[:, index], rtol=1e-8, atol=1e-10)
        for name, value in seed_state(alone.model, 0).items():
            # Where all of a unit's inputs to ELU are positive, normalisation takes its bias away again: its gradient is
            # rounding, of which Adam makes steps, but it counts nothing, as the records show.
            atol = 1e-6 if name.endswith(".layer.bias") else 1e-8
            torch.testing.assert_close(seed_state(together.model, index)[name], value, rtol=1e-8, atol=atol, msg=name)


@pytest.mark.parametrize("family", FAMILIES)
def test_facets_wait_for_their_phase_and_then_start_with_fresh_moments(family):
    engine = make_engine(FAMILIES[family], dtype=torch.float32)
    chunks = list(engine.schedule.chunks())
    names = {id(parameter): name for name, parameter in engine.model.named_parameters()}
    parts = {
        "dense": ("heads", "rungs"),
        "shared": ("heads",),
        "convolutional": ("heads", "encoder_rungs", "decoder_rungs"),
    }
    own = ("priors.0.", *(f"network.{part}.0." for part in parts[family]))
    before = {name: value.detach().clone() for name, value in engine.model.named_parameters()}

    def steps():
        return {names[id(p)]: int(moments.n_steps) for p, moments in engine.optimizer.moments.items()}

    for chunk in (chunk for chunk in chunks if chunk.phase == 0):
        engine.run(chunk)
    waiting = {name for name in before if name.startswith(own)}
    assert steps().keys() == before.keys() - waiting
    assert {n for n, p in engine.model.named_parameters() if torch.equal(p.detach(), before[n])} >= waiting
    moved = {n for n, p in engine.model.named_parameters() if not torch.equal(p.detach(), before[n])}
    assert {name for name in before if "encoder_blocks" in name or "trunk" in name} <= moved
    first = next(chunk for chunk in chunks if chunk.phase == 1)
    engine.run(first)
    done = steps()
    assert {done[name] for name in waiting} == {first.n_steps}
    assert {done[name] for name in before.keys() - waiting} == {first.start + first.n_steps}
    assert all(not torch.equal(p.detach(), before[n]) for n, p in engine.model.named_parameters() if n in waiting)


def test_a_waiting_facets_record_is_zero():
    record = run_all(make_engine())
    in_first_phase = np.arange(len(record)) < 2 * 3
    assert (record[in_first_phase, 0, 1] == 0).all()
    assert (record[~in_first_phase, 0, 1] != 0).all()
    assert (record[:, 0, (0, 2)] != 0).all()


def test_held_out_images_are_never_trained_on():
    images = training_images()
    spoiled = training_images()
    rows = torch.from_numpy(spoiled.validation_rows)
    spoiled.source._images[rows] = 255 - spoiled.source._images[rows]
    engines = [make_engine(images=one) for one in (images, spoiled)]
    one, other = (run_all(engine) for engine in engines)
    np.testing.assert_array_equal(one, other)


def write_images(path):
    with write_store(path, SPEC, source="test", split_rule="none") as writer:
        ids = np.array([f"i-{i:016x}" for i in range(24)])
        writer.append(uint8_images().numpy(), ids, np.array(["train"] * 24))


def test_images_from_the_disk_train_the_same_model_bit_for_bit(tmp_path, monkeypatch):
    write_images(tmp_path / "train.h5")
    cpu = torch.device("cpu")
    memory = load_training_images(tmp_path / "train.h5", 0.2, cpu)
    monkeypatch.setattr(images_module, "_free_bytes", lambda _: 0)
    disk = load_training_images(tmp_path / "train.h5", 0.2, cpu)
    assert isinstance(disk.source, DiskImages)
    assert not isinstance(memory.source, DiskImages)
    engines = [make_engine(images=images, dtype=torch.float32, seeds=(0, 1)) for images in (memory, disk)]
    one, other = (run_all(engine) for engine in engines)
    np.testing.assert_array_equal(one, other)
    assert_same_state(*(engine.model.state_dict() for engine in engines))


def test_several_samples_a_step():
    one = run_all(make_engine())
    three = run_all(make_engine(train=replace(TRAIN, n_samples=3)))
    assert one.shape == three.shape
    assert (one != three).any()
    assert np.isfinite(three).all()


class _FakeCuda:
    """Enough of torch.cuda to get as far as the capture, which then fails."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def wait_stream(self, _):
        return None

    def fail(self, _):
        raise RuntimeError("operation not permitted when stream is capturing")


@pytest.mark.parametrize("batch_size", [8, 64])
def test_a_step_that_cannot_be_captured_runs_eagerly_from_where_it_was(batch_size, monkeypatch, caplog):
    """The engine says why, and the warm-up steps leave no trace, also where an epoch has a single step."""
    train = replace(TRAIN, batch_size=batch_size)
    fake = _FakeCuda()
    for name, value in {
        "Stream": lambda: fake,
        "current_stream": lambda: fake,
        "stream": lambda _: fake,
        "CUDAGraph": lambda: fake,
        "graph": fake.fail,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    expected = make_engine(train=train, dtype=torch.float32)
    expected_record = run_all(expected)
    monkeypatch.setattr(engine_module.TrainingEngine, "_can_capture", lambda _: True)
    engine = make_engine(train=train, dtype=torch.float32)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(run_all(engine), expected_record)
    assert_same_state(engine.model.state_dict(), expected.model.state_dict())
    assert engine.engine == "eager"
    assert "phase 0 runs eagerly: the step could not be captured (operation not permitted" in caplog.text


@gpu
@pytest.mark.gpu
@pytest.mark.parametrize("family", FAMILIES)
def test_captured_and_eager_agree_over_fifty_steps(family, monkeypatch):
    """Across a phase boundary, several seeds, in float64."""
    train = replace(TRAIN, phases=(phase(8), phase(9, 0.5)))  # 17 epochs of 3 steps
    records = []
    for captures in (True, False):
        monkeypatch.setattr(engine_module.TrainingEngine, "_can_capture", lambda _, captures=captures: captures)
        params = FAMILIES[family]
        images = training_images(params=params)
        model = started_model(params, (0, 1), torch.float64).to("cuda")
        images = replace(images, source=images.source.to(torch.device("cuda")))
        engine = TrainingEngine(model, (0, 1), images, train, torch.float64)
        records.append(run_all(engine))
        assert engine.engine == ("captured" if captures else "eager")
    assert len(records[0]) == 51
    np.testing.assert_allclose(*records, rtol=1e-8)
