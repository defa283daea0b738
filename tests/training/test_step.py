"""One step: what it reads, what it changes, and that every call reads its own row of the buffers."""

from dataclasses import replace

import pytest
import torch

from pipeline.model import MultiFacetVae
from pipeline.training.images import MemoryImages
from pipeline.training.objective import bound_of_model
from pipeline.training.replicas import Replicas
from pipeline.training.step import TrainingStep, allocate_buffers, make_optimizer
from tests.model.builders import SPEC, TINY
from tests.training.builders import TRAIN, started_model, uint8_images

N_STEPS, BATCH = 4, 6
SMOOTH = replace(TINY, activation="elu")  # no unit is dead for all images
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: run them on a machine with one")


class Setting:
    """A model, buffers filled at random, and the step that reads them."""

    def __init__(self, first_facet=0, device="cpu", seeds=(0,), seeds_a_replica=None):
        generator = torch.Generator().manual_seed(1)
        self.model = started_model(SMOOTH, seeds).to(device)
        self.optimizer = make_optimizer(self.model, TRAIN)
        buffers = allocate_buffers(self.model, N_STEPS, 1, BATCH)
        buffers.index.copy_(torch.randint(0, 20, buffers.index.shape, generator=generator))
        buffers.noise.copy_(torch.randn(buffers.noise.shape, generator=generator))
        buffers.rate.fill_(1e-3)
        buffers.kl_weight.fill_(1.0)
        buffers.fade_in.fill_(1.0)
        self.buffers = buffers
        images = MemoryImages(uint8_images(20), SPEC).to(torch.device(device))
        self.step = TrainingStep(
            Replicas(self.model, torch.float32, seeds_a_replica),
            self.optimizer,
            images,
            buffers,
            first_facet,
            TRAIN.mixture_rate,
            torch.float32,
        )
        self.before = self.state()

    def state(self):
        return {name: value.detach().cpu().clone() for name, value in self.model.named_parameters()}

    def moved(self):
        return {name: value - self.before[name] for name, value in self.state().items()}


def test_every_call_moves_on_and_leaves_its_record():
    setting = Setting()
    for done in range(N_STEPS):
        assert setting.buffers.position.item() == done
        assert (setting.buffers.record[done:] == 0).all()
        setting.step()
        assert (setting.buffers.record[done] != 0).all()


def test_the_record_holds_the_batch_means_of_each_seed():
    setting = Setting(seeds=(0, 1))
    setting.buffers.fade_in[:, 0] = 0.25
    index, noise = setting.buffers.index[0], setting.buffers.noise[0]
    x = uint8_images(20)[index.flatten()].unflatten(0, index.shape).float() / 255
    with torch.no_grad():
        fade_in = torch.tensor([0.25, 1.0])
        log_px, kls = bound_of_model(setting.model, x, noise.split(TINY.latent_dims, -1), fade_in)
    setting.step()
    expected = torch.stack([log_px, *kls], -1).mean(1)
    torch.testing.assert_close(setting.buffers.record[0], expected)


def test_two_calls_use_different_noise():
    """With equal images and a rate of 0, only the noise can change the record; with equal noise nothing does."""
    setting = Setting()
    setting.buffers.rate.zero_()
    setting.buffers.index.copy_(setting.buffers.index[:1].clone().expand_as(setting.buffers.index))
    setting.buffers.noise[3] = setting.buffers.noise[2]
    for _ in range(N_STEPS):
        setting.step()
    record = setting.buffers.record[:, 0]
    assert (record[0] != record[1]).all()
    assert torch.equal(record[2], record[3])


def test_a_rate_of_zero_moves_nothing():
    setting = Setting()
    setting.buffers.rate.zero_()
    setting.step()
    assert all((change == 0).all() for change in setting.moved().values())


def test_the_rate_is_read_at_every_call_and_mixtures_have_their_own():
    """Adam's first step moves every parameter by its rate (where its gradient is not next to nothing)."""
    setting = Setting()
    setting.buffers.rate[0] = 2e-3
    setting.step()
    for name, change in setting.moved().items():
        rate = 2e-3 * (TRAIN.mixture_rate if name.startswith("priors") else 1.0)
        assert change.abs().max() == pytest.approx(rate, rel=1e-3), name
    slow = Setting()
    slow.step()
    assert slow.moved()["network.output.weight"].abs().max() == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("name", ["fade_in", "kl_weight"])
def test_coefficients_are_read_at_every_call(name):
    """After a first equal step, another coefficient gives another second step."""
    one, other = Setting(), Setting()
    getattr(other.buffers, name)[1] = 0.2
    one.step()
    other.step()
    assert all(torch.equal(value, other.state()[key]) for key, value in one.state().items())
    one.step()
    other.step()
    different = {key for key, value in one.state().items() if not torch.equal(value, other.state()[key])}
    assert {"priors.0.means", "network.heads.0.weight", "network.encoder_blocks.0.layers.0.weight"} <= different


def test_a_coefficient_of_zero_takes_a_facet_out_of_the_loss():
    setting = Setting()
    setting.buffers.fade_in[:, 0] = 0.0
    setting.step()
    still = {name for name, change in setting.moved().items() if (change == 0).all()}
    parts = ("network.heads.0.", "network.rungs.0.", "priors.0.")
    assert still == {name for name in setting.before if name.startswith(parts)}


@pytest.mark.parametrize("seeds_a_replica", [None, 1])
def test_a_waiting_facet_does_not_move_and_has_no_moments_while_the_backbone_trains(seeds_a_replica):
    setting = Setting(first_facet=1, seeds=(0, 1), seeds_a_replica=seeds_a_replica)
    setting.step()
    parts = ("network.heads.0.", "network.rungs.0.", "priors.0.")
    for name, parameter in setting.model.named_parameters():
        is_waiting = name.startswith(parts)
        assert (setting.moved()[name] == 0).all() == is_waiting, name
        assert (parameter not in setting.optimizer.moments) == is_waiting, name
    assert setting.buffers.record[0, 0, 1] == 0.0


def test_fixed_weights_are_not_optimised():
    model = MultiFacetVae(replace(TINY, mixing_weights="fixed"), SPEC)
    network, mixture = make_optimizer(model, TRAIN).groups
    assert len(network) == len(list(model.network.parameters()))
    assert len(mixture) == 4


@gpu
@pytest.mark.gpu
def test_replays_of_a_captured_step_use_fresh_rows():
    """The same as above through a CUDA graph: noise and coefficients are read at replay, not at capture."""
    setting = Setting(device="cuda")
    setting.buffers.rate.zero_()
    setting.buffers.index.copy_(setting.buffers.index[:1].clone().expand_as(setting.buffers.index))
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        setting.step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        setting.step()
    setting.buffers.position.zero_()
    setting.buffers.rate[1:] = 1e-3
    graph.replay()
    assert all((change == 0).all() for change in setting.moved().values())
    graph.replay()
    assert (setting.buffers.record[0] != setting.buffers.record[1]).all()
    assert (setting.moved()["network.output.weight"] != 0).any()
