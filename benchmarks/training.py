"""A training step of the dense ladder at the paper's size, against the least that it must cost and a plain version.

The floor is exactly the step's matrix products, in our precision and on the same threads, and a copy of as many bytes
as Adam must move (four numbers read and three written for each parameter). The plain step is what one would write
first: ``nn.Linear``, ``torch.distributions``, Adam, single precision; it has a process of its own, as our process keeps
the memory that it frees (see ``pipeline.training.runtime``).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor, distributions, nn

from benchmarks.lines import Line, compare, report
from pipeline.config import load_params
from pipeline.config.sections import ModelParams, TrainParams
from pipeline.core.memory import keep_freed_memory
from pipeline.datasets.store.spec import InputSpec
from pipeline.model import MultiFacetVae
from pipeline.training.adam import Adam
from pipeline.training.engine import TrainingEngine
from pipeline.training.images import MemoryImages, divide_images
from pipeline.training.network_init import init_network
from pipeline.training.runtime import KEPT_MEMORY, limit_threads, resolve_runtime

ROOT = Path(__file__).parent.parent
_SHAPE = (1, 28, 28)
_SPEC = InputSpec.pixels(_SHAPE)
_N_IMAGES = 8192
_STEPS = 8  # of one timed call
_UPDATES = 100  # likewise
_BYTES_A_PARAMETER = 28  # Adam reads value, gradient and two moments, and writes value and moments, four bytes each


def measure(full: bool) -> list[Line]:
    """Return three lines: our step against its floor, our update against torch's, and the plain step against ours."""
    keep_freed_memory(KEPT_MEMORY)
    params = load_params(ROOT).experiment("mnist")
    runtime = resolve_runtime(params.train)
    images = _images()
    model = MultiFacetVae(params.model, _SPEC)
    limit_threads(model, params.train.batch_size)
    init_network(model, [0], images[:512].float() / 255)
    ours = _our_steps(model, images, params.train, runtime.precision)
    floor = _floor(model, params.train.batch_size, runtime.precision)
    rounds, n_items = (21 if full else 7), _STEPS * params.train.batch_size
    more = {
        "precision": str(runtime.precision).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "batch_size": params.train.batch_size,
    }
    against_floor = compare(
        "training step, both facets", ours, floor, "its products and Adam's bytes", rounds=rounds, items=n_items
    )
    with get_context("spawn").Pool(1) as pool:
        plain = partial(pool.apply, _run_plain, (torch.get_num_threads(),))
        against_ours = compare("plain float32 step", plain, ours, "our step", rounds=rounds, items=n_items)
    return [*(replace(line, more=more) for line in (against_floor, against_ours)), _adam_update(rounds)]


def _images() -> Tensor:
    return torch.randint(0, 256, (_N_IMAGES, *_SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def _our_steps(
    model: MultiFacetVae, images: Tensor, params: TrainParams, precision: torch.dtype
) -> Callable[[], object]:
    engine = TrainingEngine(model, [0], divide_images(MemoryImages(images, _SPEC), len(images), 0.0), params, precision)
    chunk = next(chunk for chunk in engine.schedule.chunks() if chunk.first_facet == 0)
    few = replace(chunk, n_steps=_STEPS)
    return lambda: engine.run(few)


def _floor(model: MultiFacetVae, batch_size: int, precision: torch.dtype) -> Callable[[], object]:
    """Return a function that does nothing but the products and the optimiser's traffic."""
    weights = [layer for layer in model.network.parameters() if layer.dim() == 3]
    products: list[tuple[Tensor, Tensor]] = []
    for i, weight in enumerate(weights):
        n_out, n_in = weight.shape[1:]
        x, w, grad = (
            torch.randn(*size).to(precision) for size in ((batch_size, n_in), (n_out, n_in), (batch_size, n_out))
        )
        products += [(x, w.T), (grad.T, x)]
        if i:  # nobody asks for the gradient of the pixels
            products.append((grad, w))
    n_bytes = _BYTES_A_PARAMETER * sum(parameter.numel() for parameter in model.parameters())
    source = torch.zeros(n_bytes // 2, dtype=torch.uint8)  # a copy reads and writes each byte
    target = torch.empty_like(source)

    def run() -> None:
        for _ in range(_STEPS):
            for left, right in products:
                torch.mm(left, right)
            target.copy_(source)

    return run


def _adam_update(rounds: int) -> Line:
    """Time updates of a small model by our Adam and by torch's, with the same kernel, on the one thread that it has."""
    torch.set_num_threads(1)
    section = load_params(ROOT).experiment("digits_ladder").model
    parameters = list(MultiFacetVae(section, InputSpec.pixels((1, 8, 8))).parameters())
    for parameter in parameters:
        parameter.data.zero_()
        parameter.grad = torch.ones_like(parameter)
    ours = Adam([parameters], (0.9, 0.999))
    theirs = torch.optim.Adam(parameters, lr=0.0, fused=True)

    def repeated(step: Callable[[], object]) -> Callable[[], object]:
        return lambda: [step() for _ in range(_UPDATES)]

    return compare(
        "Adam's update, digits", repeated(ours.step), repeated(theirs.step), "torch.optim.Adam", rounds=rounds
    )


class _PlainModel(nn.Module):
    """The dense ladder with two facets as one would write it first."""

    def __init__(self, params: ModelParams) -> None:
        super().__init__()
        (shallow,), (deep,) = params.hidden
        pixels = _SHAPE[1] * _SHAPE[2]
        dims, gate = params.latent_dims, params.rung_gate
        self.gate = gate
        self.blocks = nn.ModuleList([nn.Linear(pixels, shallow), nn.Linear(shallow, deep)])
        self.heads = nn.ModuleList([nn.Linear(shallow, 2 * dims[0]), nn.Linear(deep, 2 * dims[1])])
        self.rungs = nn.ModuleList([nn.Linear(dims[0], shallow), nn.Linear(dims[1], deep)])
        self.down, self.mixer, self.output = (
            nn.Linear(deep, shallow),
            nn.Linear(shallow, shallow),
            nn.Linear(shallow, pixels),
        )
        sizes = list(zip(params.n_components, dims, strict=True))
        self.means = nn.ParameterList([torch.randn(k, d) * 0.05 for k, d in sizes])
        self.raw_variances = nn.ParameterList([torch.full((k, d), -0.23) for k, d in sizes])
        self.logits = nn.ParameterList([torch.zeros(k) for k, _ in sizes])

    def loss(self, x: Tensor) -> Tensor:
        """Return the negative bound, averaged over the batch."""
        shallow = self.blocks[0](x).relu()
        deep = self.blocks[1](shallow).relu()
        posteriors = []
        for head, h in zip(self.heads, (shallow, deep), strict=True):
            mean, log_variance = head(h).chunk(2, -1)
            posteriors.append(distributions.Normal(mean, (0.5 * log_variance).exp()))
        z = [posterior.rsample() for posterior in posteriors]
        upper = self.down(self.rungs[1](z[1]).relu()).relu()
        merged = upper + self.gate * self.rungs[0](z[0]).relu()
        logits = self.output(self.mixer(merged).relu())
        log_px = distributions.Bernoulli(logits=logits, validate_args=False).log_prob(x).sum(-1)
        return -(log_px - sum(self._kl(j, posteriors[j], z[j]) for j in range(2))).mean()

    def _kl(self, j: int, posterior: distributions.Normal, z: Tensor) -> Tensor:
        scale = nn.functional.softplus(self.raw_variances[j], beta=10).sqrt()
        components = distributions.Independent(distributions.Normal(self.means[j], scale), 1)
        prior = distributions.MixtureSameFamily(distributions.Categorical(logits=self.logits[j]), components)
        return posterior.log_prob(z).sum(-1) - prior.log_prob(z)


def _run_plain(n_threads: int) -> None:
    """Take the timed steps of the plain program, in the process of a pool."""
    torch.set_num_threads(n_threads)
    _plain_steps_of_mnist()()


@cache
def _plain_steps_of_mnist() -> Callable[[], object]:
    params = load_params(ROOT).experiment("mnist")
    return _plain_steps(params.model, params.train, _images())


def _plain_steps(params: ModelParams, train: TrainParams, images: Tensor) -> Callable[[], object]:
    model = _PlainModel(params)
    optimizer = torch.optim.Adam(model.parameters(), lr=train.learning_rate)

    def run() -> None:
        batches: Sequence[Tensor] = torch.randperm(len(images))[: _STEPS * train.batch_size].split(train.batch_size)
        for rows in batches:
            optimizer.zero_grad()
            model.loss(images[rows].flatten(1).float() / 255).backward()
            optimizer.step()

    return run


if __name__ == "__main__":
    report(measure)
