"""Training on an array in memory, without a file: what the estimator does."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from threading import Event

import torch

from pipeline.config.sections import InitMogParams, ModelParams, TrainParams
from pipeline.core.hints import Hints
from pipeline.core.progress import Progress, progress, silence
from pipeline.core.shapes import Inputs
from pipeline.core.side_by_side import run_in_rounds
from pipeline.datasets.store.spec import InputSpec
from pipeline.model import MultiFacetVae
from pipeline.model.checkpoint import seed_state
from pipeline.training.images import MemoryImages, divide_images
from pipeline.training.initialise import initialise_seed
from pipeline.training.loop import GroupTraining, TrainedSeed, seed_groups
from pipeline.training.runtime import limit_threads, resolve_runtime


def train_in_memory(
    images: Inputs,
    spec: InputSpec,
    seeds: Sequence[int],
    model: ModelParams,
    init: InitMogParams,
    params: TrainParams,
    is_verbose: bool,
    hints: Hints | None = None,
) -> list[TrainedSeed]:
    """Train every seed from its start values to the end, as the stages init_mog and train do, and as many at once.

    Args:
        images: the training images.
        spec: what one of them is.
        seeds: one model each.
        model: the model section.
        init: the section of the mixtures' start.
        params: the train section.
        is_verbose: whether progress is shown on standard error.
        hints: what is known of some of the images.

    Raises:
        ModelError: more components than images, no mixture could be fitted, or hints tell nothing.
        ResourceError: the device asked for is absent.
    """
    runtime = resolve_runtime(params)
    source = MemoryImages(images, spec)
    start = divide_images(source, len(images), 0.0)
    divided = divide_images(source.to(runtime.device), len(images), params.validation_fraction)
    if hints is not None:
        divided = divided.hinted(hints)
        start = replace(start, hints=divided.hints)
    stop = Event()

    def train_group(group: tuple[int, ...]) -> list[TrainedSeed]:
        stacked = MultiFacetVae(model, spec, len(group))
        for index, seed in enumerate(group):
            state = seed_state(initialise_seed(seed, model, start, init, runtime.device)[0], 0)
            for name, value in stacked.state_dict().items():
                value[index].copy_(state[name])
        limit_threads(stacked, params.batch_size)
        stacked.to(runtime.device)
        training = GroupTraining(stacked, group, divided, params, runtime, resume_path=None)
        label = f"train seed {', '.join(map(str, group))}"
        with progress(label, training.n_chunks, "chunk") if is_verbose else silence() as bar:
            return training.run(_Stoppable(bar, stop))

    with _own_threads():
        try:
            trained = run_in_rounds(train_group, seed_groups(seeds, runtime), torch.get_num_threads())
        except BaseException:
            stop.set()
            raise
    return [one for group in trained for one in group]


class _Stoppable:
    """Progress that ends a training in another thread once its caller was interrupted: nobody waits for it any more."""

    def __init__(self, shown: Progress, stop: Event) -> None:
        self._shown, self._stop = shown, stop

    def advance(self, n: int = 1, note: str = "") -> None:
        if self._stop.is_set():
            raise InterruptedError
        self._shown.advance(n, note)


@contextmanager
def _own_threads() -> Iterator[None]:
    """Leave the caller's number of threads as it was."""
    n_threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)
