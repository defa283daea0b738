"""Every kernel against the plain operations that it stands for, and a training step with kernels against one without.

Run on a GPU by naming this file; without one ``test_kernels.py`` runs it with Triton's interpreter, in a process of its
own, as Triton asks before its first import whether it shall interpret.
"""

import os
from dataclasses import replace

import pytest
import torch
from torch.distributions import Independent, Normal
from torch.nn import functional

from pipeline import kernels
from pipeline.kernels import adam, bernoulli, dense, latent, mixture, pixels
from pipeline.model.covariance import positive
from pipeline.training import engine as engine_module
from pipeline.training.engine import TrainingEngine
from tests.model.builders import FAMILIES
from tests.training.builders import TRAIN, phase, started_model, training_images

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
ACTIVATIONS = {None: lambda x: x, "relu": torch.relu, "elu": functional.elu}


@pytest.fixture(autouse=True)
def use_kernels(monkeypatch):
    """Have kernels run on the processor too, where they are interpreted."""
    assert os.environ.get("TRITON_INTERPRET") == "1" or DEVICE == "cuda"
    monkeypatch.setattr(kernels, "run_on", lambda x: x.device.type == DEVICE)


def normal(*shape, dtype=torch.float32, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE, dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pixels_in_two_precisions(dtype):
    images = torch.arange(256, dtype=torch.uint8, device=DEVICE).repeat(11)[:2700].view(3, 30, 30)
    exact, low = pixels.scale(images, dtype)
    torch.testing.assert_close(exact, images.float() / 255)
    torch.testing.assert_close(low, exact.to(dtype))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("n_rows", "n_columns", "n_loaded"), [(7, 24, 24), (70, 10, 16), (1, 37, 40)])
def test_bias_and_activation_with_their_gradients(activation, n_rows, n_columns, n_loaded):
    product = normal(3, n_rows, n_loaded)
    bias = normal(3, n_columns, seed=1).requires_grad_()
    before = product[..., :n_columns].clone().requires_grad_()
    expected = ACTIVATIONS[activation](before + bias[:, None])
    result = dense.add_bias_and_activate(product, bias.detach(), activation)
    torch.testing.assert_close(result, expected.detach())

    grad = normal(3, n_rows, n_columns, seed=2)
    expected.backward(grad)
    given = grad.clone()
    of_product, of_bias = dense.pre_activation_gradients(given, result if activation else None, activation, n_loaded)
    torch.testing.assert_close(given, grad)  # others may hold it
    torch.testing.assert_close(of_product[..., :n_columns], before.grad)
    assert not of_product[..., n_columns:].any()
    torch.testing.assert_close(of_bias, bias.grad)


def test_a_bias_may_lie_in_wider_rows_and_numbers_may_be_short():
    product, wide = normal(2, 5, 8, dtype=torch.bfloat16), normal(2, 16, seed=1, dtype=torch.bfloat16)
    bias = wide[:, :8]
    expected = torch.relu(product.float() + bias[:, None].float()).bfloat16()
    torch.testing.assert_close(dense.add_bias_and_activate(product, bias, "relu"), expected)


@pytest.mark.parametrize("n_pixels", [1, 784, 1500])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bernoulli_log_probability_and_gradient(n_pixels, dtype):
    logits = (5 * normal(2, 3, n_pixels)).to(dtype).requires_grad_()
    with torch.no_grad():
        logits[0, 0, 0], logits[1, 0, 0] = 200.0, -200.0
    x = normal(2, 3, n_pixels, seed=1).sigmoid()
    expected = -functional.binary_cross_entropy_with_logits(logits.float(), x, reduction="none").sum(-1)
    torch.testing.assert_close(bernoulli.log_prob(logits.detach(), x), expected.detach())
    grad = normal(2, 3, seed=2)
    expected.backward(grad)
    torch.testing.assert_close(bernoulli.gradient(grad, logits.detach(), x), logits.grad)


@pytest.mark.parametrize("shape", [(3, 6, 10), (3, 2, 5000), (2, 7)])
def test_adam_moves_a_parameter_and_its_copy_as_torch_does(shape):
    master = torch.nn.Parameter(normal(*shape))
    theirs = torch.nn.Parameter(master.detach().clone())
    optimizer = torch.optim.Adam([theirs], 1e-2, (0.9, 0.999))
    mean, square = torch.zeros_like(master), torch.zeros_like(master)
    wide = (*(n + 3 for n in shape[1:]),)
    low = torch.zeros(shape[0], *wide, dtype=torch.bfloat16, device=DEVICE)
    corner = low[tuple(slice(n) for n in shape)]
    rate, n_steps = torch.tensor(1e-2, device=DEVICE), torch.tensor(0.0, device=DEVICE)
    for step in range(3):
        gradient = normal(shape[0], *wide, dtype=torch.bfloat16, seed=step)
        theirs.grad = gradient[tuple(slice(n) for n in shape)].float().clone()
        optimizer.step()
        adam.update(master.detach(), mean, square, gradient, low, rate, n_steps, (0.9, 0.999), 1e-8)
        n_steps.add_(1)
        torch.testing.assert_close(master, theirs, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(corner, master.detach().bfloat16())
    corner.zero_()
    assert not low.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_posterior_and_its_sample_with_their_gradients(dtype):
    raw = (6 * normal(3, 50, 10)).to(dtype).requires_grad_()
    mean, log_variance = (part.float() for part in raw.chunk(2, dim=-1))
    log_variance = log_variance.clamp(-3.01, 2.03)  # no short number is a bound itself
    noise, grad = normal(3, 50, 5, seed=1), normal(3, 50, 5, seed=2).to(dtype)
    (mean + (0.5 * log_variance).exp() * noise).backward(grad.float())

    ours = raw.detach().clone().requires_grad_()
    split = latent.split_head(ours, -3.01, 2.03)
    for part, expected in zip(split, (mean, log_variance), strict=True):
        torch.testing.assert_close(part.detach(), expected.detach())
    z = latent.sample(*split, noise, dtype)
    torch.testing.assert_close(z.detach(), (mean + (0.5 * log_variance).exp() * noise).detach().to(dtype))
    z.backward(grad)
    torch.testing.assert_close(ours.grad, raw.grad)


@pytest.mark.parametrize(("n_components", "n_latents", "n_rows"), [(25, 5, 70), (1, 1, 3), (60, 20, 33), (3, 2, 32)])
def test_kl_of_a_sample_with_the_gradients_of_posteriors_and_components(n_components, n_latents, n_rows):
    sizes = [(3, n_rows, n_latents)] * 2 + [(3, n_components, n_latents)] * 2 + [(3, n_components)]
    values = [normal(*size, dtype=torch.float64, seed=seed) for seed, size in enumerate(sizes)]
    values[3] = 0.05 + 0.3 * values[3].abs()
    values[3][0] = 20.0  # above softplus's linear threshold
    values[3][1, 0] = -0.7  # near the floor
    values[4] = values[4].log_softmax(-1)
    noise, grad = (normal(3, n_rows, *rest, dtype=torch.float64, seed=9) for rest in ((n_latents,), ()))
    doubles = [value.clone().requires_grad_() for value in values]
    mean, log_variance, centre, raw, log_weight = doubles
    z = mean + (0.5 * log_variance).exp() * noise
    components = Independent(Normal(centre[:, None], positive(raw).sqrt()[:, None]), 1)
    log_p = (components.log_prob(z[:, :, None]) + log_weight[:, None]).logsumexp(-1)
    expected = Independent(Normal(mean, (0.5 * log_variance).exp()), 1).log_prob(z) - log_p
    expected.backward(grad)

    singles = [value.float().requires_grad_() for value in values]
    kl = mixture.sampled_kl(*singles[:2], noise.float(), *singles[2:], 10.0, 1e-5)
    torch.testing.assert_close(kl.detach(), expected.detach().float(), rtol=1e-4, atol=1e-4)
    kl.backward(grad.float())
    for ours, theirs in zip(singles, doubles, strict=True):
        scale = theirs.grad.abs().max()
        torch.testing.assert_close(ours.grad / scale, (theirs.grad / scale).float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("family", "likelihood", "seeds"),
    [
        ("dense", "bernoulli", (0, 1, 2)),
        ("dense", "gaussian", (7,)),
        ("shared", "bernoulli", (0,)),
        ("convolutional", "gaussian", (0, 1)),
    ],
)
def test_a_training_with_kernels_is_one_without(family, likelihood, seeds, monkeypatch):
    """All facets and phases, in single precision."""
    params = replace(FAMILIES[family], likelihood=likelihood)

    def train(use):
        monkeypatch.setattr(kernels, "run_on", lambda x: use and x.device.type == DEVICE)
        monkeypatch.setattr(engine_module, "seeds_a_replica", lambda _: 1 if family == "convolutional" else len(seeds))
        schedule = replace(TRAIN, phases=(phase(1), phase(2, 0.5))[: params.n_facets])
        model = started_model(params, seeds).to(DEVICE)
        images = training_images(params=params)
        if DEVICE == "cuda":
            images = replace(images, source=images.source.to(torch.device("cuda")))
        engine = TrainingEngine(model, seeds, images, schedule, torch.float32)
        record = torch.cat([torch.from_numpy(engine.run(chunk)) for chunk in engine.schedule.chunks()])
        return record, model.state_dict()

    expected, whole = train(False)
    record, state = train(True)
    # Where gradients are nothing but rounding, Adam makes whole steps of it: behind the convolutional normalisation.
    is_exact = family != "convolutional"
    torch.testing.assert_close(record, expected, rtol=1e-4 if is_exact else 1e-2, atol=1e-4)
    for name, value in whole.items() if is_exact else ():
        torch.testing.assert_close(state[name], value, rtol=1e-3, atol=1e-4, msg=name)
