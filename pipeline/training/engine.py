"""Runs the chunks of a schedule: eagerly, or on CUDA as replays of one captured graph a phase."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from pipeline import kernels
from pipeline.config.sections import TrainParams
from pipeline.core.errors import ModelError
from pipeline.model import MultiFacetVae
from pipeline.training.adam import Adam
from pipeline.training.batches import chunk_noise, epoch_order
from pipeline.training.hint_draws import draw_hinted, n_drawn
from pipeline.training.hint_term import HintTerm
from pipeline.training.images import DiskImages, TrainingImages
from pipeline.training.process_group import ALONE, ProcessGroup
from pipeline.training.replicas import Replicas, seeds_a_replica
from pipeline.training.schedule import Chunk, ProgressiveSchedule
from pipeline.training.step import Beside, TrainingStep, allocate_buffers, make_optimizer
from pipeline.training.view_term import ViewTerm, settled_facets
from pipeline.training.views import FacetViews
from pipeline.views import check_ignored

_WARM_UP_STEPS = 3  # eager steps on a side stream before a capture, as CUDA graphs need
_log = logging.getLogger(__name__)


class TrainingEngine:
    """Trains all models of a seed axis through a schedule, chunk by chunk.

    Args:
        model: initialised models, on the device to train on.
        seeds: the experiment's seeds, in the order of the seed axis.
        images: the prepared split; only its training rows are seen.
        params: the train section.
        precision: type of the network's products.
        processes: the processes that share every batch.

    Raises:
        ConfigError: a facet ignores what the images do not have.
        ModelError: a facet of one component has hints.
    """

    def __init__(
        self,
        model: MultiFacetVae,
        seeds: Sequence[int],
        images: TrainingImages,
        params: TrainParams,
        precision: torch.dtype,
        processes: ProcessGroup = ALONE,
    ) -> None:
        self.model, self._seeds, self._images = model, tuple(seeds), images
        self._params, self._precision, self._processes = params, precision, processes
        self.schedule = ProgressiveSchedule(params, model.params.n_facets, len(images.train_rows))
        self.optimizer = make_optimizer(model, params, processes)
        moves_compute_weights = processes.size == 1 and kernels.run_on(model.prior(0).means)
        self._replicas = Replicas(model, precision, seeds_a_replica(model), moves_compute_weights)
        self.optimizer.move_with(self._replicas.compute_weights)
        self._part = processes.part(self.schedule.batch_size)
        longest = max(chunk.n_steps for chunk in self.schedule.chunks())
        n_own = self._part.stop - self._part.start
        check_ignored(params.ignores, images.source.spec)
        self._views = FacetViews(params.ignores or ())
        self._buffers = allocate_buffers(
            model, longest, params.n_samples, n_own, self._n_hinted(), self._views.n_numbers
        )
        self._run_step: Callable[[], None] = lambda: None
        self._prepared_phase: int | None = None
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0))
        self.engine = "eager"

    def run(self, chunk: Chunk) -> Float64[np.ndarray, "step seed term"]:
        """Train one chunk and return what its steps measured (see ``ChunkBuffers.record``)."""
        self.model.train()
        self._fill(chunk)
        if chunk.phase != self._prepared_phase:
            self._prepare(chunk)
        self._replicas.refresh()  # the master may have been loaded, or put back after a capture
        for _ in range(chunk.n_steps):
            self._run_step()
        if chunk.ends_epoch and chunk.epoch + 1 < self.schedule.n_epochs:
            self._order = self._order_of(chunk.epoch + 1)  # while a GPU is still at its steps
        self._processes.average([self._buffers.record[: chunk.n_steps], *self.model.buffers()])
        return self._buffers.record[: chunk.n_steps].to("cpu", torch.float64, copy=True).numpy()

    def _fill(self, chunk: Chunk) -> None:
        buffers, n = self._buffers, chunk.n_steps
        if self._order[0] != chunk.epoch:
            self._order = self._order_of(chunk.epoch)
        coefficients = self.schedule.at(chunk.start, n)
        buffers.position.zero_()
        buffers.index[:n].copy_(torch.from_numpy(self._order[1][chunk.offset : chunk.offset + n, :, self._part]))
        for column, values in (
            (buffers.rate, coefficients.rate),
            (buffers.kl_weight, coefficients.kl_weight),
            (buffers.fade_in, coefficients.fade_in),
        ):
            column[:n].copy_(torch.from_numpy(values))
        self._fill_hinted(chunk)
        shape = (self._params.n_samples, self.schedule.batch_size, buffers.noise.shape[-1])
        for index, seed in enumerate(self._seeds):
            noise = chunk_noise(seed, chunk, shape, buffers.noise.device, buffers.noise.dtype)
            buffers.noise[:n, :, index] = noise[:, :, self._part]
            if self._views.facets:
                numbers = self._views.draw(seed, chunk, shape[1], buffers.views.device, buffers.views.dtype)
                buffers.views[:n, index] = numbers[:, self._part]

    def _n_hinted(self) -> int:
        hints, n_components = self._images.hints, self.model.params.n_components
        if hints is None:
            return 0
        lone = [facet for facet in hints.facets() if n_components[facet] < 2]
        if lone:
            raise ModelError(
                f"a facet with hints must have at least two components, got one for facet {lone[0]}; "
                "raise its n_components, or take its hints back"
            )
        return n_drawn(hints, self._params.hints.images)

    def _fill_hinted(self, chunk: Chunk) -> None:
        hints, hinted = self._images.hints, self._buffers.hinted
        if hints is not None and hints.facets(chunk.first_facet):
            drawn = [draw_hinted(seed, chunk, hints, hinted.shape[-1]) for seed in self._seeds]
            hinted[: chunk.n_steps].copy_(torch.from_numpy(np.stack(drawn, axis=1)))

    def _order_of(self, epoch: int) -> tuple[int, Int64[np.ndarray, "step seed batch"]]:
        rows = self._images.train_rows
        orders = [rows[epoch_order(seed, epoch, self.schedule, len(rows))] for seed in self._seeds]
        return epoch, np.stack(orders, axis=1)

    def _prepare(self, chunk: Chunk) -> None:
        self._prepared_phase = chunk.phase
        self._processes.align(self.model)
        step = TrainingStep(
            self._replicas,
            self.optimizer,
            self._images.source,
            self._buffers,
            chunk.first_facet,
            self._params.mixture_rate,
            self._precision,
            self._beside(chunk),
        )
        self._run_step = step
        if self._can_capture():
            try:
                self._run_step = self._capture(step)
                self.engine = "captured"
            except RuntimeError as error:
                self.engine = "eager"
                _log.warning("phase %d runs eagerly: the step could not be captured (%s)", chunk.phase, error)

    def _beside(self, chunk: Chunk) -> Beside:
        viewed = [facet for facet in self._views.facets if facet >= chunk.first_facet]
        settled, weight = settled_facets(viewed, chunk), self._params.view_weight
        term = ViewTerm(self.model, settled, chunk.first_facet, weight) if settled and weight else None
        return Beside(self._hint_term(chunk.first_facet), self._views if viewed else None, viewed, term)

    def _hint_term(self, first_facet: int) -> HintTerm | None:
        """Return the hints' part in the loss; processes that share a batch do not share it, as pairs do not divide."""
        hints = self._images.hints
        if hints is None or not hints.facets(first_facet):
            return None
        return HintTerm(hints, self.model, first_facet, self._params.hints.weight)

    def _can_capture(self) -> bool:
        if self._buffers.position.device.type != "cuda" or self._processes.size > 1:
            return False
        if isinstance(self._images.source, DiskImages):
            _log.warning("training runs eagerly: the images exceed the device's memory and are read from the disk")
            return False
        return True

    def _capture(self, step: TrainingStep) -> Callable[[], None]:
        """Capture one step as a CUDA graph; model, optimiser and buffers are left as they were, also on failure."""
        saved = _snapshot(self.model, self.optimizer)
        begun = set(self.optimizer.moments)
        try:
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream), _fastest_convolutions():
                for _ in range(_WARM_UP_STEPS):
                    self._buffers.position.zero_()  # an epoch may have fewer steps than the warm-up
                    step()
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph), _fastest_convolutions():
                step()
        finally:
            _restore(saved)
            self.optimizer.forget([parameter for parameter in self.optimizer.moments if parameter not in begun])
            self._buffers.position.zero_()
        return graph.replay


def _fastest_convolutions() -> AbstractContextManager[None]:
    """Have cuDNN try its algorithms when a shape is new; a graph keeps those that won in the warm-up."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=True)


def _snapshot(model: MultiFacetVae, optimizer: Adam) -> list[tuple[Tensor, Tensor]]:
    moments = [value for each in optimizer.moments.values() for value in each]
    tensors = [*model.parameters(), *model.buffers(), *moments]
    return [(tensor, tensor.detach().clone()) for tensor in tensors]


@torch.no_grad()
def _restore(saved: list[tuple[Tensor, Tensor]]) -> None:
    for tensor, value in saved:
        tensor.copy_(value)
