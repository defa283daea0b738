"""Runs the legs of a schedule: eagerly, or on CUDA as replays of one captured graph a phase."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from pipeline import kernels
from pipeline.config.sections import TrainParams
from pipeline.model import MultiFacetVae
from pipeline.training.adam import Adam
from pipeline.training.batches import epoch_order, leg_noise
from pipeline.training.branches import Branches, seeds_a_branch
from pipeline.training.images import DiskImages, TrainingImages
from pipeline.training.schedule import Leg, ProgressiveSchedule
from pipeline.training.step import TrainingStep, allocate_buffers, make_optimizer
from pipeline.training.team import ALONE, Team

_WARM_UP_STEPS = 3  # eager steps on a side stream before a capture, as CUDA graphs need
_log = logging.getLogger(__name__)


class TrainingEngine:
    """Trains all models of a seed axis through a schedule, leg by leg.

    Args:
        model: initialised models, on the device to train on.
        seeds: the experiment's seeds, in the order of the seed axis.
        images: the prepared split; only its training rows are seen.
        params: the train section.
        precision: type of the network's products.
        team: the processes that share every batch.
    """

    def __init__(
        self,
        model: MultiFacetVae,
        seeds: Sequence[int],
        images: TrainingImages,
        params: TrainParams,
        precision: torch.dtype,
        team: Team = ALONE,
    ) -> None:
        self.model, self._seeds, self._images = model, tuple(seeds), images
        self._params, self._precision, self._team = params, precision, team
        self.schedule = ProgressiveSchedule(params, model.params.n_facets, len(images.train_rows))
        self.optimizer = make_optimizer(model, params, team)
        moves_copies = team.size == 1 and kernels.run_on(model.prior(0).means)
        self._branches = Branches(model, precision, seeds_a_branch(model), moves_copies)
        self.optimizer.move_with(self._branches.copies)
        self._part = team.part(self.schedule.batch_size)
        longest = max(leg.n_steps for leg in self.schedule.legs())
        n_own = self._part.stop - self._part.start
        self._buffers = allocate_buffers(model, longest, params.n_samples, n_own)
        self._run_step: Callable[[], None] = lambda: None
        self._prepared_phase: int | None = None
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0))
        self.engine = "eager"

    def run(self, leg: Leg) -> Float64[np.ndarray, "step seed term"]:
        """Train one leg and return what its steps measured (see ``LegBuffers.record``)."""
        self.model.train()
        self._fill(leg)
        if leg.phase != self._prepared_phase:
            self._prepare(leg)
        self._branches.refresh()  # the master may have been loaded, or put back after a capture
        for _ in range(leg.n_steps):
            self._run_step()
        if leg.ends_epoch and leg.epoch + 1 < self.schedule.n_epochs:
            self._order = self._order_of(leg.epoch + 1)  # while a GPU is still at its steps
        self._team.average([self._buffers.record[: leg.n_steps], *self.model.buffers()])
        return self._buffers.record[: leg.n_steps].to("cpu", torch.float64, copy=True).numpy()

    def _fill(self, leg: Leg) -> None:
        buffers, n = self._buffers, leg.n_steps
        if self._order[0] != leg.epoch:
            self._order = self._order_of(leg.epoch)
        coefficients = self.schedule.at(leg.start, n)
        buffers.position.zero_()
        buffers.index[:n].copy_(torch.from_numpy(self._order[1][leg.offset : leg.offset + n, :, self._part]))
        for column, values in (
            (buffers.rate, coefficients.rate),
            (buffers.kl_weight, coefficients.kl_weight),
            (buffers.fade_in, coefficients.fade_in),
        ):
            column[:n].copy_(torch.from_numpy(values))
        shape = (self._params.n_samples, self.schedule.batch_size, buffers.noise.shape[-1])
        for index, seed in enumerate(self._seeds):
            noise = leg_noise(seed, leg, shape, buffers.noise.device, buffers.noise.dtype)
            buffers.noise[:n, :, index] = noise[:, :, self._part]

    def _order_of(self, epoch: int) -> tuple[int, Int64[np.ndarray, "step seed batch"]]:
        rows = self._images.train_rows
        orders = [rows[epoch_order(seed, epoch, self.schedule, len(rows))] for seed in self._seeds]
        return epoch, np.stack(orders, axis=1)

    def _prepare(self, leg: Leg) -> None:
        self._prepared_phase = leg.phase
        self._team.align(self.model)
        step = TrainingStep(
            self._branches,
            self.optimizer,
            self._images.source,
            self._buffers,
            leg.first_facet,
            self._params.mixture_rate,
            self._precision,
        )
        self._run_step = step
        if self._can_capture():
            try:
                self._run_step = self._capture(step)
                self.engine = "captured"
            except RuntimeError as error:
                self.engine = "eager"
                _log.warning("phase %d runs eagerly: the step could not be captured (%s)", leg.phase, error)

    def _can_capture(self) -> bool:
        if self._buffers.position.device.type != "cuda" or self._team.size > 1:
            return False
        if isinstance(self._images.source, DiskImages):
            _log.warning("training runs eagerly: the images exceed the device's memory and are read from the disk")
            return False
        return True

    def _capture(self, step: TrainingStep) -> Callable[[], None]:
        """Capture one step as a CUDA graph; model, optimiser and buffers end as they began, also where it fails."""
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
