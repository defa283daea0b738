"""Adam against torch's own, which builds on another route to the same kernel and on a plain one."""

import pytest
import torch
from torch import nn

from pipeline.training.adam import Adam

SIZES = ((3, 2), (5,), (4,))


def parameters(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(*size, generator=generator, dtype=torch.float64)) for size in SIZES]


def set_gradients(step, *models, without=()):
    """Give every model the same gradients; parameters in ``without`` get none."""
    for model in models:
        generator = torch.Generator().manual_seed(step)
        for i, parameter in enumerate(model):
            gradient = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.grad = None if i in without else gradient


def test_steps_equal_those_of_torchs_plain_adam_with_a_late_parameter():
    ours, plain = parameters(), parameters()
    adam = Adam([ours[:2], ours[2:]], (0.8, 0.95))
    reference = torch.optim.Adam([{"params": plain[:2]}, {"params": plain[2:]}], betas=(0.8, 0.95), foreach=False)
    for step in range(6):
        for rate, group, value in zip(adam.rates, reference.param_groups, (0.5**step, 0.1), strict=True):
            rate.fill_(value)
            group["lr"] = float(rate)
        set_gradients(step, ours, plain, without=(1,) if step < 3 else ())
        adam.step()
        reference.step()
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    assert int(adam.moments[ours[1]].n_steps) == 3


def test_a_parameter_without_a_gradient_stays_and_has_no_moments():
    ours = parameters()
    before = ours[1].detach().clone()
    adam = Adam([ours], (0.9, 0.999))
    adam.rates[0].fill_(0.1)
    set_gradients(0, ours, without=(1,))
    adam.step()
    assert torch.equal(ours[1], before)
    assert set(adam.moments) == {ours[0], ours[2]}


def test_a_stored_state_goes_on_bit_for_bit():
    whole, halves = parameters(), parameters()
    adam = Adam([whole], (0.9, 0.99))
    adam.rates[0].fill_(0.1)
    first = Adam([halves], (0.9, 0.99))
    first.rates[0].fill_(0.1)
    for step in range(3):
        set_gradients(step, whole, halves, without=(2,))
        adam.step()
        first.step()
    second = Adam([halves], (0.9, 0.99))
    second.rates[0].fill_(0.1)
    second.load_state([[value.clone() for value in values] for values in first.state()])
    for step in range(3, 6):
        set_gradients(step, whole, halves)
        adam.step()
        second.step()
    assert all(torch.equal(one, other) for one, other in zip(whole, halves, strict=True))


def test_a_state_of_other_parameters_is_refused():
    with pytest.raises(ValueError, match="shorter"):
        Adam([parameters()], (0.9, 0.99)).load_state([[]])


def test_gradients_are_averaged_over_the_processes_before_the_step():
    alone, team = parameters(), parameters()
    seen = []

    def double(gradients):
        seen.append(len(gradients))
        for gradient in gradients:
            gradient.mul_(2)

    reference, adam = Adam([alone], (0.9, 0.99)), Adam([team[:1], team[1:]], (0.9, 0.99), double)
    for rate in (*reference.rates, *adam.rates):
        rate.fill_(0.1)
    set_gradients(0, alone, team, without=(1,))
    for parameter in alone:
        if parameter.grad is not None:
            parameter.grad.mul_(2)
    reference.step()
    adam.step()
    assert seen == [2]
    assert all(torch.equal(one, other) for one, other in zip(alone, team, strict=True))
    assert torch.equal(adam.moments[team[0]].mean, reference.moments[alone[0]].mean)


def test_forgotten_moments_start_anew():
    ours = parameters()
    adam = Adam([ours], (0.9, 0.99))
    set_gradients(0, ours)
    adam.step()
    adam.forget(ours[:2])
    assert [int(adam.moments[parameter].n_steps) for parameter in ours] == [0, 0, 1]
    assert not adam.moments[ours[0]].square.any()


def test_zero_grad_forgets_all_gradients():
    ours = parameters()
    set_gradients(0, ours)
    Adam([ours[:1], ours[1:]], (0.9, 0.99)).zero_grad()
    assert all(parameter.grad is None for parameter in ours)
