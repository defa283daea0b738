"""Training on views: which facet sees which images, resumed, side by side, by two processes; without them as ever."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.core.errors import ConfigError
from pipeline.training import engine as engine_module
from pipeline.training import objective
from pipeline.training import schedule as schedule_module
from pipeline.training.engine import TrainingEngine
from pipeline.training.process_group import ALONE
from pipeline.training.replicas import Replicas
from pipeline.training.view_term import ViewTerm
from pipeline.views import View
from tests.model.builders import FAMILIES, TINY
from tests.training.builders import (
    TRAIN,
    Bar,
    Killed,
    assert_same_state,
    group_training,
    kill,
    phase,
    started_model,
    training_images,
    uint8_images,
)
from tests.training.processes import assert_two_processes_do_as_one, save_steps
from tests.training.test_hinted_training import hinted_images

DEEP: Any = {"shift": 40.0, "brightness": 30.0, "noise": 10.0}
SHALLOW: Any = {"mirrored": 50.0}
ONE = replace(TRAIN, ignores=(None, DEEP), view_weight=2.0)
BOTH = replace(TRAIN, ignores=(SHALLOW, DEEP), view_weight=2.0)
ALL_AT_ONCE = replace(BOTH, phases=(phase(2),))
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: run them on a machine with one")


def make_engine(train=BOTH, images=None, seeds=(0,), params=TINY, dtype=torch.float64, processes=ALONE) -> Any:
    images = images or training_images(params=params)
    return TrainingEngine(started_model(params, seeds, dtype), seeds, images, train, dtype, processes)


def run_all(engine):
    return np.concatenate([engine.run(chunk) for chunk in engine.schedule.chunks()])


def plain_loss(model, pixels, numbers, noise, train, facets_with_term):
    """Return the loss of one seed, each facet encoded by a call of its own: dense layers see no neighbours."""
    own, start = [], 0
    for facet, ignored in enumerate(train.ignores):
        view = View(ignored)
        seen = view(pixels, numbers[:, start : start + view.n_numbers])
        start += view.n_numbers
        own.append(model.encode(seen[None])[facet])
    replicas, ones = Replicas(model, torch.float64, None), torch.ones(2, dtype=torch.float64)
    posteriors = replicas.start(lambda _: own)
    log_px, kls = objective.bound(replicas, pixels[None], posteriors, noise, ones, torch.float64)
    loss = objective.loss(log_px, kls, ones)
    term = ViewTerm(model, facets_with_term, 0, train.view_weight) if facets_with_term else None
    return loss if term is None else loss + term(model.encode(pixels[None]), own)


@pytest.mark.parametrize("settled", [[], [1]])
def test_a_step_follows_the_gradient_of_the_bound_of_views(settled, monkeypatch):
    monkeypatch.setattr(engine_module, "settled_facets", lambda *_: settled)
    engine, model = make_engine(ALL_AT_ONCE), started_model(dtype=torch.float64)
    chunk = next(engine.schedule.chunks())
    engine._fill(chunk)
    engine._prepare(chunk)
    engine._run_step()
    buffers = engine._buffers
    pixels = (uint8_images().double() / 255)[buffers.index[0, 0]]
    noise = buffers.noise[0].split(TINY.latent_dims, -1)
    plain_loss(model, pixels, buffers.views[0, 0], noise, ALL_AT_ONCE, settled).backward()
    for (name, own), expected in zip(engine.model.named_parameters(), model.parameters(), strict=True):
        gradient = engine.optimizer.moments[own].mean / (1 - TRAIN.betas[0])
        torch.testing.assert_close(gradient, expected.grad, rtol=1e-9, atol=1e-12, msg=name)


def test_the_record_is_the_bound_of_views():
    engine, model = make_engine(ALL_AT_ONCE, seeds=(0, 1)), started_model(seeds=(0, 1), dtype=torch.float64)
    record = engine.run(next(engine.schedule.chunks()))[0]
    buffers = engine._buffers
    for seed in range(2):
        alone = started_model(seeds=(seed,), dtype=torch.float64)
        pixels = (uint8_images().double() / 255)[buffers.index[0, seed]]
        noise = [part[:, seed : seed + 1] for part in buffers.noise[0].split(TINY.latent_dims, -1)]
        expected = plain_loss(alone, pixels, buffers.views[0, seed], noise, ALL_AT_ONCE, [])
        assert record[seed] @ (-1, 1, 1) == pytest.approx(expected.item(), rel=1e-9)
    assert model.n_seeds == 2


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("train", [TRAIN, replace(TRAIN, ignores=(None, None))], ids=["null", "nulls"])
def test_where_nothing_is_ignored_training_is_as_ever_bit_for_bit(family, train):
    params = FAMILIES[family]
    one, other = (
        make_engine(replace(how, view_weight=weight), params=params, dtype=torch.float32, seeds=(0, 1))
        for how, weight in ((TRAIN, 0.0), (train, 7.0))
    )
    np.testing.assert_array_equal(run_all(one), run_all(other))
    assert_same_state(one.model.state_dict(), other.model.state_dict())
    assert other._buffers.views.shape[-1] == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_until_a_facet_that_ignores_joins_training_is_as_ever_bit_for_bit(family):
    params = FAMILIES[family]
    shallow = replace(TRAIN, ignores=(SHALLOW, None))
    without, viewed = (make_engine(train, params=params, dtype=torch.float32) for train in (TRAIN, shallow))
    for chunk in without.schedule.chunks():
        records = [engine.run(chunk) for engine in (without, viewed)]
        if chunk.phase == 0:
            np.testing.assert_array_equal(*records)
            assert_same_state(without.model.state_dict(), viewed.model.state_dict())
    assert not torch.equal(without.model.prior(0).means, viewed.model.prior(0).means)


def test_the_weight_counts_after_the_first_phase_alone():
    light, heavy = (make_engine(replace(ONE, view_weight=weight)) for weight in (0.0, 9.0))
    for chunk in light.schedule.chunks():
        records = [engine.run(chunk) for engine in (light, heavy)]
        if chunk.phase == 0:
            np.testing.assert_array_equal(*records)
            assert_same_state(light.model.state_dict(), heavy.model.state_dict())
    assert (records[0] != records[1]).any()


def test_batch_normalisation_sees_images_and_views_together():
    """The statistics that evaluation uses are of both, as one batch."""
    params, train = FAMILIES["convolutional"], replace(ALL_AT_ONCE, ignores=(None, DEEP))
    engine, expected = (make_engine(train, params=params) for _ in range(2))
    chunk = next(engine.schedule.chunks())
    engine._fill(chunk)
    engine._prepare(chunk)
    engine._run_step()
    pixels = (uint8_images(params=params).double() / 255)[engine._buffers.index[0, 0]]
    views = View(DEEP)(pixels, engine._buffers.views[0, 0])
    expected.model.train().encode(torch.cat([pixels, views])[None])
    found = engine.model.state_dict()
    statistics = {n: v for n, v in expected.model.state_dict().items() if "running" in n and "encoder_blocks" in n}
    assert statistics
    for name, value in statistics.items():
        torch.testing.assert_close(found[name], value, rtol=1e-10, atol=1e-12, msg=name)


def test_facets_draw_from_streams_of_their_own():
    chunk = next(make_engine(BOTH).schedule.chunks())
    both, deep = (make_engine(train)._views for train in (BOTH, ONE))
    how: Any = (8, torch.device("cpu"), torch.float64)
    drawn, alone = both.draw(3, chunk, *how), deep.draw(3, chunk, *how)
    assert drawn.shape == (3, 8, 1 + 5)
    assert torch.equal(drawn[..., 1:], alone)
    assert not torch.equal(drawn, both.draw(4, chunk, *how))
    assert not torch.equal(drawn, both.draw(3, replace(chunk, start=chunk.start + 3), *how))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_seed_among_others_trains_as_in_its_solo_run(family):
    params = FAMILIES[family]
    together = make_engine(seeds=(3, 8), params=params)
    record = run_all(together)
    for index, seed in ((0, 3), (1, 8)):
        alone = make_engine(seeds=(seed,), params=params)
        np.testing.assert_allclose(run_all(alone)[:, 0], record[:, index], rtol=1e-7, atol=1e-9)


SETTINGS: dict[str, Any] = {"train": replace(BOTH, checkpoint_seconds=1e-9), "seeds": (0, 1)}


@cache
def undisturbed_seeds(folder):
    return group_training(folder, **SETTINGS)[0].run(Bar())


@pytest.mark.no_shapes
@pytest.mark.parametrize("killed_at", [2, 5, 8])
def test_resumed_is_the_undisturbed_run_bit_for_bit(killed_at, monkeypatch, tmp_path, tmp_path_factory):
    """Within an epoch and in both phases: a chunk's views do not depend on those before it."""
    monkeypatch.setattr(schedule_module, "_MAX_CHUNK", 2)
    whole = undisturbed_seeds(tmp_path_factory.getbasetemp() / "undisturbed_views")
    group, _ = group_training(tmp_path, **SETTINGS)
    with pytest.raises(Killed):
        group.run(Bar(killed_at, kill))
    again, _ = group_training(tmp_path, **SETTINGS)
    for one, other in zip(again.run(Bar()), whole, strict=True):
        assert_same_state(one.state, other.state)
        assert one.history == other.history


def run_steps(processes, path):
    save_steps(make_engine(processes=processes), processes, path)


def test_two_processes_give_the_parameters_of_one(tmp_path):
    assert_two_processes_do_as_one(run_steps, tmp_path, rtol=1e-7, atol=1e-10)


def test_hints_and_views_go_together():
    """With next to no weight of hints the dense model's course is that of views alone."""
    light = replace(BOTH, hints=replace(TRAIN.hints, weight=1e-200))
    np.testing.assert_allclose(run_all(make_engine(light, hinted_images())), run_all(make_engine()), rtol=1e-9)
    hinted = run_all(make_engine(BOTH, hinted_images()))
    assert np.isfinite(hinted).all()
    assert (hinted[-1] != run_all(make_engine())[-1]).any()


def test_a_facet_cannot_ignore_hues_where_there_are_none():
    with pytest.raises(ConfigError, match=r"train\.ignores\[1\]\.hue needs images of 3 channels, got 1"):
        make_engine(replace(TRAIN, ignores=(None, {"hue": 30.0})))


@gpu
@pytest.mark.gpu
@pytest.mark.parametrize("family", FAMILIES)
def test_captured_and_eager_agree(family, monkeypatch):
    """Every transformation of grey images, both facets, across a phase boundary, in float64."""
    everything: Any = {
        "mirrored": 50.0,
        "rotate": 20.0,
        "scale": 10.0,
        "shear": 10.0,
        "shift": 10.0,
        "time_shift": 25.0,
        "stroke": 0.5,
        "brightness": 20.0,
        "contrast": 20.0,
        "invert": 20.0,
        "blur": 1.0,
        "noise": 5.0,
    }
    train = replace(BOTH, ignores=(SHALLOW, everything), phases=(phase(8), phase(9, 0.5)))
    records = []
    for captures in (True, False):
        monkeypatch.setattr(engine_module.TrainingEngine, "_can_capture", lambda _, captures=captures: captures)
        params = FAMILIES[family]
        images = training_images(params=params)
        images = replace(images, source=images.source.to(torch.device("cuda")))
        model = started_model(params, (0, 1), torch.float64).to("cuda")
        engine = TrainingEngine(model, (0, 1), images, train, torch.float64)
        records.append(run_all(engine))
        assert engine.engine == ("captured" if captures else "eager")
    np.testing.assert_allclose(*records, rtol=1e-8)
