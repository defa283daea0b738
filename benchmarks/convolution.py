"""A training step of the convolutional ladder at the paper's size, against its products and a plain version.

The floor is the step's products alone: every layer as one matrix product over its positions, for the result and for
both gradients, in our precision and on the same threads, without the gathering of patches. The plain step is what one
would write first: ``nn.Conv2d``, ``torch.distributions``, Adam, single precision, one plane a channel.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, distributions, nn

from benchmarks.lines import Line, line_of, report
from benchmarks.machine import peak_mib
from pipeline.config import load_params
from pipeline.config.sections import ModelParams, TrainParams
from pipeline.core.memory import keep_freed_memory
from pipeline.datasets.store.spec import InputSpec
from pipeline.model import MultiFacetVae
from pipeline.model.convolution import Convolution
from pipeline.model.dense import Dense
from pipeline.training.engine import TrainingEngine
from pipeline.training.images import MemoryImages, divide_images
from pipeline.training.network_init import init_network
from pipeline.training.runtime import KEPT_MEMORY, resolve_runtime

ROOT = Path(__file__).parent.parent
_EXPERIMENT = "shapes3d_1"
_SHAPE = (3, 32, 32)
_SPEC = InputSpec.pixels(_SHAPE)
_N_IMAGES = 1200

Step = Callable[[], object]


def measure(full: bool) -> list[Line]:
    """Return our step against its floor and the plain step against ours: by the clock, and in work of one thread."""
    keep_freed_memory(KEPT_MEMORY)
    params = load_params(ROOT).experiment(_EXPERIMENT)
    runtime = resolve_runtime(params.train)
    images = _images()
    model = _model(params.model, images)
    ours = partial(_timed, _our_step(model, images, params.train, runtime.precision))
    floor = partial(_timed, _floor(model, params.train.batch_size, runtime.precision))
    rounds, batch_size = (21 if full else 7), params.train.batch_size
    more = {
        "precision": str(runtime.precision).removeprefix("torch."),
        "batch_size": batch_size,
        "peak_mib": {which: _peak_mib(which) for which in ("nothing", "ours", "plain")},
    }
    lines: list[Line] = []
    with get_context("spawn").Pool(1) as pool:
        for n_threads, what in ((torch.get_num_threads(), ""), (1, ", work of one thread")):
            torch.set_num_threads(n_threads)
            plain = partial(pool.apply, _time_plain, (n_threads,))
            # Others on the machine hardly change the processor time of a single thread.
            clock = "work" if what else "seconds"
            sides = (
                (f"convolutional step{what}", ours, floor, "its products"),
                (f"plain float32 step{what}", plain, ours, "our step"),
            )
            lines += [
                replace(_compare(clock, *side, rounds, batch_size), more=more | {"threads": n_threads, "clock": clock})
                for side in sides
            ]
    return lines


class Timing(NamedTuple):
    """What one step took: by the clock, and of the processor."""

    seconds: float
    work: float


def _timed(step: Step) -> Timing:
    start, work = time.perf_counter(), time.process_time()
    step()
    return Timing(time.perf_counter() - start, time.process_time() - work)


def _compare(
    clock: str, name: str, one: Callable[[], Timing], other: Callable[[], Timing], against: str, rounds: int, items: int
) -> Line:
    one()
    other()
    pairs = [(getattr(one(), clock), getattr(other(), clock)) for _ in range(rounds)]
    return line_of(name, [pair[0] for pair in pairs], [pair[1] for pair in pairs], against, items=items)


def _time_plain(n_threads: int) -> Timing:
    """Take a step of the plain program, in the process of a pool."""
    torch.set_num_threads(n_threads)
    return _timed(_plain_step_of_shapes())


@cache
def _plain_step_of_shapes() -> Step:
    params = load_params(ROOT).experiment(_EXPERIMENT)
    return _plain_step(params.model, params.train, _images())


def peak_of(which: str) -> None:
    """Print the peak memory of this process after three steps of one kind, in MiB."""
    params = load_params(ROOT).experiment(_EXPERIMENT)
    images = _images()
    if which == "ours":
        keep_freed_memory(KEPT_MEMORY)
        step = _our_step(_model(params.model, images), images, params.train, resolve_runtime(params.train).precision)
    else:
        step = _plain_step(params.model, params.train, images)
    for _ in range(0 if which == "nothing" else 3):
        step()
    print(peak_mib())


def _peak_mib(which: str) -> int:
    code = f"from benchmarks.convolution import peak_of; peak_of({which!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    return int(done.stdout.split()[-1])


def _images() -> Tensor:
    return torch.randint(0, 256, (_N_IMAGES, *_SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def _model(params: ModelParams, images: Tensor) -> MultiFacetVae:
    model = MultiFacetVae(params, _SPEC)
    init_network(model, [0], images[:150].float() / 255)
    return model


def _our_step(model: MultiFacetVae, images: Tensor, params: TrainParams, precision: torch.dtype) -> Step:
    engine = TrainingEngine(model, [0], divide_images(MemoryImages(images, _SPEC), len(images), 0.0), params, precision)
    chunk = next(chunk for chunk in engine.schedule.chunks() if chunk.first_facet == 0)
    one = replace(chunk, n_steps=1)
    return lambda: engine.run(one)


def _floor(model: MultiFacetVae, batch_size: int, precision: torch.dtype) -> Step:
    """Return a function that does nothing but the products."""
    sizes: dict[nn.Module, tuple[int, int, int]] = {}

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        small = inputs[0] if isinstance(layer, Convolution) and layer.is_transposed else output
        n_out = output.shape[2]
        parameter = next(layer.parameters())
        sizes[layer] = (small[0].numel() // small.shape[2], parameter[0].numel() // n_out, n_out)

    hooks = [one.register_forward_hook(note) for one in model.modules() if isinstance(one, Convolution | Dense)]
    with torch.no_grad():
        posteriors = model.encode(torch.zeros(1, batch_size, *_SHAPE))
        model.decode([qz.mean for qz in posteriors])
    for hook in hooks:
        hook.remove()
    products: list[tuple[Tensor, Tensor]] = []
    for i, (n_rows, n_in, n_out) in enumerate(sizes.values()):
        x, w, grad = (torch.randn(*size).to(precision) for size in ((n_rows, n_in), (n_in, n_out), (n_rows, n_out)))
        products += [(x, w), (x.T, grad)]
        if i:  # nobody asks for the gradient of the pixels
            products.append((grad, w.T))

    def run() -> None:
        for left, right in products:
            torch.mm(left, right)

    return run


def _block(layer: nn.Module, norm: nn.Module) -> nn.Sequential:
    return nn.Sequential(layer, nn.ELU(), norm)


def _down(n_in: int, n_out: int, stride: int = 2) -> nn.Sequential:
    return _block(nn.Conv2d(n_in, n_out, 4, stride, 1), nn.BatchNorm2d(n_out))


def _up(n_in: int, n_out: int) -> nn.Sequential:
    return _block(nn.ConvTranspose2d(n_in, n_out, 4, 2, 1), nn.BatchNorm2d(n_out))


class _PlainModel(nn.Module):
    """The paper's ladder for 32 by 32 pixels (table 5) as one would write it first."""

    def __init__(self, params: ModelParams) -> None:
        super().__init__()
        self.sigma, dims = params.sigma, params.latent_dims
        self.blocks = nn.ModuleList(_down(n_in, n_out) for n_in, n_out in pairwise((3, 64, 128)))
        shallow = (_down(64, 64), _down(64, 64, stride=1), nn.Flatten(), nn.Linear(64 * 49, 2 * dims[0]))
        deep = (_down(128, 128), _down(128, 256), nn.Flatten(), nn.Linear(256 * 4, 2 * dims[1]))
        self.rungs = nn.ModuleList([nn.Sequential(*shallow), nn.Sequential(*deep)])
        self.joins = nn.ModuleList(_block(nn.Linear(dim, 16384), nn.BatchNorm1d(16384)) for dim in dims)
        self.upper = nn.Sequential(_up(256, 128), _block(nn.Conv2d(128, 64, 3, 1, 1), nn.BatchNorm2d(64)))
        self.output = _up(128, 3)
        sizes = list(zip(params.n_components, dims, strict=True))
        self.means = nn.ParameterList([torch.randn(k, d) * 0.05 for k, d in sizes])
        self.factors = nn.ParameterList([(0.1 * torch.eye(d)).repeat(k, 1, 1) for k, d in sizes])

    def loss(self, x: Tensor) -> Tensor:
        """Return the negative bound, averaged over the batch."""
        posteriors, h = [], x
        for block, rung in zip(self.blocks, self.rungs, strict=True):
            h = block(h)
            mean, log_variance = rung(h).chunk(2, -1)
            posteriors.append(distributions.Normal(mean, (0.5 * log_variance).exp()))
        z = [posterior.rsample() for posterior in posteriors]
        upper = self.upper(self.joins[1](z[1]).unflatten(1, (256, 8, 8)))
        merged = torch.cat([upper, self.joins[0](z[0]).unflatten(1, (64, 16, 16))], 1)
        log_px = distributions.Normal(self.output(merged), self.sigma).log_prob(x).sum((1, 2, 3))
        return -(log_px - sum(self._kl(j, posteriors[j], z[j]) for j in range(2))).mean()

    def _kl(self, j: int, posterior: distributions.Normal, z: Tensor) -> Tensor:
        components = distributions.MultivariateNormal(self.means[j], scale_tril=self.factors[j].tril())
        weights = distributions.Categorical(logits=torch.zeros(len(self.means[j])))
        prior = distributions.MixtureSameFamily(weights, components, validate_args=False)
        return posterior.log_prob(z).sum(-1) - prior.log_prob(z)


def _plain_step(params: ModelParams, train: TrainParams, images: Tensor) -> Step:
    model = _PlainModel(params)
    optimizer = torch.optim.Adam(model.parameters(), lr=train.learning_rate)

    def run() -> None:
        rows = torch.randperm(len(images))[: train.batch_size]
        optimizer.zero_grad()
        model.loss(images[rows].float() / 255).backward()
        optimizer.step()

    return run


if __name__ == "__main__":
    report(measure)
