"""What a GPU does at best: how fast it starts kernels, and how fast it assigns images."""

import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from pipeline.config.sections import Experiment
from pipeline.datasets.store.images import ImageStore
from pipeline.datasets.store.spec import InputSpec
from pipeline.model import FrozenModel, MultiFacetVae, load_model
from pipeline.training.engine import TrainingEngine
from pipeline.training.images import MemoryImages, divide_images
from pipeline.training.network_init import init_network
from pipeline.training.runtime import Runtime

_N_IMAGES = 6000
_TRACED_STEPS = 4
_REPLAYS = 40
_BLOCK = 16_384
_ROUNDS = 9


def launch_floor(params: Experiment, spec: InputSpec, runtime: Runtime) -> dict[str, Any]:
    """Return how long a captured step of the last phase takes, and as many empty kernels one after another."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (_N_IMAGES, *spec.shape), dtype=torch.uint8, generator=generator)
    model = MultiFacetVae(params.model, spec, len(params.seeds))
    init_network(model, params.seeds, pixels[:64].float() / 255)
    model.to(runtime.device)
    images = divide_images(MemoryImages(pixels.to(runtime.device), spec), _N_IMAGES, 0.0)
    engine = TrainingEngine(model, params.seeds, images, params.train, runtime.precision)
    *_, chunk = engine.schedule.chunks()
    engine.run(chunk)
    few = replace(chunk, n_steps=min(chunk.n_steps, _TRACED_STEPS), ends_epoch=False)
    with profile(activities=[ProfilerActivity.CUDA]) as trace:
        engine.run(few)
    n_kernels = sum(event.device_type.name == "CUDA" for event in trace.events() or ()) / few.n_steps
    seconds = median(_timed(lambda: engine.run(chunk)) for _ in range(3)) / chunk.n_steps
    floor = _empty_kernels(round(n_kernels))
    return {
        "engine": engine.engine,
        "milliseconds_a_step": round(1e3 * seconds, 3),
        "kernels_a_step": round(n_kernels),
        "launch_floor_milliseconds": round(1e3 * floor, 3),
        "part_of_launch_floor": round(floor / seconds, 3),
    }


def assignment_rates(model_folder: Path, store: Path, runtime: Runtime) -> dict[str, Any]:
    """Return images a second: encoder and responsibilities alone, and all columns of the tables on the host.

    Images come from pinned memory of the host, in blocks.
    """
    model = load_model(model_folder, precision=runtime.precision).to(runtime.device)
    with ImageStore(store) as opened:
        images = torch.from_numpy(np.asarray(opened.read(0, opened.n_images))).pin_memory()
    blocks = images.split(_BLOCK)
    works = {
        "encode_and_responsibilities": lambda: [_responsibilities(model, block) for block in blocks],
        "assign_to_the_host": lambda: [model.assign(block) for block in blocks],
    }
    rates: dict[str, Any] = {"images": len(images), "images_a_block": _BLOCK}
    for name, work in works.items():
        work()
        rates[f"{name}_images_a_second"] = round(len(images) / median(_timed(work) for _ in range(_ROUNDS)))
    return rates


def _responsibilities(model: FrozenModel, images: torch.Tensor) -> list[torch.Tensor]:
    on_device = images.to(model.device, non_blocking=True)
    return [model.log_resp(facet, qz) for facet, qz in enumerate(model.encode(on_device))]


def _empty_kernels(n_kernels: int) -> float:
    """Return the seconds of a graph of as many kernels that do next to nothing."""
    value = torch.zeros(1, device="cuda")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(n_kernels):
            value.add_(1)
    graph.replay()
    return median(_timed(lambda: [graph.replay() for _ in range(_REPLAYS)]) for _ in range(3)) / _REPLAYS


def _timed(work: Any) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start
