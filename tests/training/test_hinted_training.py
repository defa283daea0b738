"""Training with hints: which images, which gradients, resumed, side by side, by two processes; without them as ever."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.core.errors import ModelError
from pipeline.core.hints import Hints, collect_hints
from pipeline.training import objective
from pipeline.training import schedule as schedule_module
from pipeline.training.engine import TrainingEngine
from pipeline.training.hint_term import HintTerm
from pipeline.training.process_group import ALONE
from pipeline.training.replicas import Replicas
from tests.model.builders import FAMILIES, TINY
from tests.training.builders import (
    TRAIN,
    Bar,
    Killed,
    assert_same_state,
    group_training,
    kill,
    started_model,
    training_images,
    uint8_images,
)
from tests.training.processes import assert_two_processes_do_as_one, save_steps

TWO_A_STEP = replace(TRAIN, hints=replace(TRAIN.hints, images=6))  # of ten: drawn


def hints_of(facets=(0, 1), n=24, n_labelled=12) -> Hints:
    labels = np.full((n, 2), -1)
    for facet in facets:
        labels[:n_labelled, facet] = np.arange(n_labelled) // (facet + 1) % 2
    return collect_hints(labels)


def hinted_images(params=TINY, **how):
    return training_images(params=params).hinted(hints_of(**how))


def make_engine(train=TRAIN, images=None, seeds=(0,), params=TINY, dtype=torch.float64, processes=ALONE) -> Any:
    images = images or hinted_images(params)
    return TrainingEngine(started_model(params, seeds, dtype), seeds, images, train, dtype, processes)


def run_all(engine):
    return np.concatenate([engine.run(chunk) for chunk in engine.schedule.chunks()])


def test_a_step_follows_the_gradient_of_bound_and_term():
    """Dense layers do not see which images are beside each other: batch and hinted ones may be encoded apart."""
    engine, model = make_engine(replace(TRAIN, phases=TRAIN.phases[:1])), started_model(dtype=torch.float64)
    chunk = next(engine.schedule.chunks())
    engine._fill(chunk)
    engine._prepare(chunk)
    engine._run_step()
    buffers, ones = engine._buffers, torch.ones(2, dtype=torch.float64)
    assert torch.equal(buffers.hinted[0, 0], torch.arange(8))  # 12 are labelled, 4 of these held out
    pixels = uint8_images().double() / 255
    batch, noise = pixels[buffers.index[0, 0]][None], buffers.noise[0].split(TINY.latent_dims, -1)
    bound = objective.bound_of_model(model, batch, noise, ones)
    term = HintTerm(hinted_images().hints, model, 0, TRAIN.hints.weight)
    added = term(model.encode(pixels[4:12][None]), torch.arange(8)[None], ones)
    (objective.loss(*bound, ones) + added).backward()
    for (name, own), expected in zip(engine.model.named_parameters(), model.parameters(), strict=True):
        gradient = engine.optimizer.moments[own].mean / (1 - TRAIN.betas[0])
        torch.testing.assert_close(gradient, expected.grad, rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize("family", FAMILIES)
def test_until_a_hinted_facet_joins_training_is_what_it_is_without_hints(family):
    """Bit for bit: the same step runs. Afterwards it is another."""
    params = FAMILIES[family]
    without = make_engine(images=training_images(params=params), params=params, dtype=torch.float32)
    hinted = make_engine(images=hinted_images(params, facets=(0,)), params=params, dtype=torch.float32)
    for chunk in without.schedule.chunks():
        records = [engine.run(chunk) for engine in (without, hinted)]
        if chunk.phase == 0:
            np.testing.assert_array_equal(*records)
            assert_same_state(without.model.state_dict(), hinted.model.state_dict())
    assert not torch.equal(without.model.prior(0).means, hinted.model.prior(0).means)


def test_what_a_step_records_is_of_its_batch_alone():
    """With next to no weight, the dense model's course is the one without hints."""
    light = replace(TRAIN, hints=replace(TRAIN.hints, weight=1e-200))
    np.testing.assert_allclose(run_all(make_engine(light)), run_all(make_engine(images=training_images())), rtol=1e-9)


def test_batch_normalisation_sees_batch_and_hinted_images_together():
    params = FAMILIES["convolutional"]
    light = replace(TRAIN, hints=replace(TRAIN.hints, weight=1e-200))
    with_hints = run_all(make_engine(light, params=params))
    without = run_all(make_engine(images=training_images(params=params), params=params))
    assert np.isfinite(with_hints).all()
    assert (with_hints[0] != without[0]).any()


@pytest.mark.parametrize("train", [TRAIN, TWO_A_STEP], ids=["all", "drawn"])
def test_held_out_images_are_never_hinted(train):
    """Neither their pixels nor their labels count."""
    images, spoiled = hinted_images(), training_images()
    rows = torch.from_numpy(spoiled.validation_rows)
    spoiled.source._images[rows] = 255 - spoiled.source._images[rows]
    labels = np.full((24, 2), -1)
    labels[:12] = (np.arange(12)[:, None] // [[1, 2]]) % 2
    labels[spoiled.validation_rows] = 7
    one, other = (run_all(make_engine(train, i)) for i in (images, spoiled.hinted(collect_hints(labels))))
    np.testing.assert_array_equal(one, other)


def test_hints_about_held_out_images_alone_are_refused():
    with pytest.raises(
        ModelError, match=r"must tell of two images .* but 4 of 4 hinted images are held out; give more"
    ):
        hinted_images(n_labelled=4)


def test_a_facet_of_one_component_cannot_follow_hints():
    params = replace(TINY, n_components=(4, 1))
    with pytest.raises(ModelError, match="must have at least two components, got one for facet 1"):
        make_engine(params=params)
    make_engine(params=params, images=hinted_images(facets=(0,)))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_seed_among_others_trains_as_in_its_solo_run(family):
    params = FAMILIES[family]
    together = make_engine(TWO_A_STEP, seeds=(3, 8), params=params)
    record = run_all(together)
    for index, seed in ((0, 3), (1, 8)):
        alone = make_engine(TWO_A_STEP, seeds=(seed,), params=params)
        np.testing.assert_allclose(run_all(alone)[:, 0], record[:, index], rtol=1e-7, atol=1e-9)


SETTINGS: dict[str, Any] = {
    "train": replace(TWO_A_STEP, checkpoint_seconds=1e-9),
    "seeds": (0, 1),
}


@cache
def undisturbed_seeds(folder):
    return group_training(folder, **SETTINGS, images=hinted_images())[0].run(Bar())


@pytest.mark.no_shapes
@pytest.mark.parametrize("killed_at", [2, 5, 8])
def test_resumed_is_the_undisturbed_run_bit_for_bit(killed_at, monkeypatch, tmp_path, tmp_path_factory):
    """Within an epoch and in both phases: a chunk's hinted images do not depend on those before it."""
    monkeypatch.setattr(schedule_module, "_MAX_CHUNK", 2)
    whole = undisturbed_seeds(tmp_path_factory.getbasetemp() / "undisturbed")
    group, _ = group_training(tmp_path, **SETTINGS, images=hinted_images())
    with pytest.raises(Killed):
        group.run(Bar(killed_at, kill))
    again, _ = group_training(tmp_path, **SETTINGS, images=hinted_images())
    for one, other in zip(again.run(Bar()), whole, strict=True):
        assert_same_state(one.state, other.state)
        assert one.history == other.history


def run_steps(processes, path):
    save_steps(make_engine(TWO_A_STEP, processes=processes), processes, path)


def test_two_processes_give_the_parameters_of_one(tmp_path):
    assert_two_processes_do_as_one(run_steps, tmp_path, rtol=1e-7, atol=1e-10)


def test_replicas_of_some_seeds_are_as_good_as_the_master():
    """Each computes its seeds' posteriors of batch and hinted images; the term is of all."""
    model: Any = started_model(seeds=(0, 1), dtype=torch.float64)
    x = (uint8_images(12).double() / 255).expand(2, -1, -1, -1, -1)
    parts = []
    for n_seeds in (None, 1):
        replicas = Replicas(model, torch.float64, n_seeds)
        encoded = objective.encode(replicas, x, 0)
        assert all(len(own[0].mean[0]) == 8 for own in objective.part(encoded, slice(0, 8)).values())
        parts.append(objective.of_all_seeds(objective.part(encoded, slice(8, None))))
    for one, other in zip(*parts, strict=True):
        assert one.mean.shape[:2] == (2, 4)
        torch.testing.assert_close(one.mean, other.mean)
