"""Seeds divided into replicas train as they do together, with weights of another shape and precision."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.training import engine as engine_module
from pipeline.training.engine import TrainingEngine
from pipeline.training.replicas import Replicas, seeds_a_replica
from tests.model.builders import FAMILIES, TINY
from tests.training.builders import TRAIN, phase, started_model, training_images

SEEDS = (0, 1, 2)


def train(params, n_seeds_a_replica, monkeypatch):
    monkeypatch.setattr(engine_module, "seeds_a_replica", lambda _: n_seeds_a_replica)
    schedule = replace(TRAIN, phases=(phase(2), phase(3, 0.5))[: params.n_facets])
    model = started_model(params, SEEDS, torch.float64)
    engine = TrainingEngine(model, SEEDS, training_images(params=params), schedule, torch.float64)
    record = np.concatenate([engine.run(chunk) for chunk in engine.schedule.chunks()])
    return record, model.state_dict()


@pytest.mark.no_cover  # the same steps as in the engine's tests
@pytest.mark.parametrize("n_seeds", [1, 2, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_replicas_of_any_size_train_as_all_seeds_at_once(family, n_seeds, monkeypatch):
    """Also running statistics and mixtures; widths that are loaded badly are filled up."""
    expected, whole = train(FAMILIES[family], None, monkeypatch)
    record, state = train(FAMILIES[family], n_seeds, monkeypatch)
    np.testing.assert_allclose(record, expected, rtol=1e-6)
    for name, value in whole.items():
        torch.testing.assert_close(state[name], value, rtol=1e-5, atol=1e-6, msg=name)


def test_a_replica_has_compute_weights_of_its_own_and_the_masters_statistics():
    model = started_model(FAMILIES["convolutional"], SEEDS)
    (replica, *_) = Replicas(model, torch.bfloat16, 1).start(lambda replica: replica)
    own, master = replica.model.network, model.network
    layer, norm = own.encoder_blocks[0].layer, own.encoder_blocks[0].norm
    assert layer.weight.dtype == layer.bias.dtype == torch.bfloat16
    assert norm.weight.dtype == torch.float32
    norm.running_mean.fill_(3.0)
    assert (master.encoder_blocks[0].norm.running_mean[0] == 3.0).all()
    assert (master.encoder_blocks[0].norm.running_mean[1:] != 3.0).all()


def test_refreshed_weights_are_the_masters_rounded_and_what_was_added_stays_zero():
    model = started_model(TINY, SEEDS)
    replicas = Replicas(model, torch.bfloat16, 2)
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.mul_(1.5)
    replicas.refresh()
    first, last = replicas.start(lambda replica: replica)
    assert (first.seeds, last.seeds) == (slice(0, 2), slice(2, 3))
    for replica in (first, last):
        masters = dict(model.network.named_parameters())
        for name, parameter in replica.model.network.named_parameters():
            master = masters[name][replica.seeds]
            corner = tuple(slice(n) for n in master.shape)
            assert (parameter[corner] == master.bfloat16()).all(), name
            assert parameter.count_nonzero() == parameter[corner].count_nonzero(), name
    assert any(p.shape != masters[name][last.seeds].shape for name, p in last.model.network.named_parameters())


@pytest.mark.parametrize(("family", "n_seeds"), [("dense", 3), ("convolutional", 1), ("shared", 3)])
def test_on_a_gpu_only_convolutions_are_divided(family, n_seeds, monkeypatch):
    model = started_model(FAMILIES[family], SEEDS)
    assert seeds_a_replica(model) is None
    monkeypatch.setattr(type(model.prior(0).means), "is_cuda", True)
    assert seeds_a_replica(model) == n_seeds
