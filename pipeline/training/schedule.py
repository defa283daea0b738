"""The schedule of a training run as pure functions of the step (paper, appendix D.3).

Phase p trains facets J-1-p … J-1: the deepest alone first, then one shallower facet more a phase. The newcomer's
coefficient rises linearly from 0 to 1 over its phase's fade-in; a single phase trains all facets in full.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from pipeline.config.sections import TrainParams

_MAX_CHUNK = 256  # steps: bounds the memory of one chunk's indices and noise, and the work lost by a kill


@dataclass(frozen=True)
class Chunk:
    """A run of steps within one epoch: the unit of work between two looks at the clock and at the losses.

    Attributes:
        epoch: from 0, over all phases.
        phase: from 0.
        first_facet: shallowest facet that takes part.
        start: first step, counted over the whole run.
        offset: first step, counted within the epoch.
        n_steps: how many.
        ends_epoch: whether the epoch is over after it.
        refits: whether the mixtures are fitted anew after it.
    """

    epoch: int
    phase: int
    first_facet: int
    start: int
    offset: int
    n_steps: int
    ends_epoch: bool
    refits: bool


@dataclass(frozen=True)
class StepCoefficients:
    """Coefficients of a run of consecutive steps.

    Attributes:
        rate: learning rate of the network.
        kl_weight: weight of all KL terms.
        fade_in: coefficient of every facet.
    """

    rate: Float64[np.ndarray, " step"]
    kl_weight: Float64[np.ndarray, " step"]
    fade_in: Float64[np.ndarray, "step facet"]


class ProgressiveSchedule:
    """What every step of a run does.

    Args:
        params: the train section.
        n_facets: facets of the model.
        n_images: images trained on.
    """

    def __init__(self, params: TrainParams, n_facets: int, n_images: int) -> None:
        self._params, self._n_facets = params, n_facets
        self.batch_size = min(params.batch_size, n_images)
        self.steps_per_epoch = -(-n_images // self.batch_size)
        epochs = np.cumsum([0, *(phase.epochs for phase in params.phases)])
        self.n_epochs = int(epochs[-1])
        self._phase_starts = epochs * self.steps_per_epoch
        self.n_steps = int(self._phase_starts[-1])

    def chunks(self) -> Iterator[Chunk]:
        """Yield all chunks in order."""
        refits = self._refit_epochs()
        for epoch in range(self.n_epochs):
            phase = self._phase_of(epoch * self.steps_per_epoch)
            for offset in range(0, self.steps_per_epoch, _MAX_CHUNK):
                n_steps = min(_MAX_CHUNK, self.steps_per_epoch - offset)
                ends_epoch = offset + n_steps == self.steps_per_epoch
                yield Chunk(
                    epoch=epoch,
                    phase=phase,
                    first_facet=self.first_facet(phase),
                    start=epoch * self.steps_per_epoch + offset,
                    offset=offset,
                    n_steps=n_steps,
                    ends_epoch=ends_epoch,
                    refits=ends_epoch and epoch in refits,
                )

    def _refit_epochs(self) -> set[int]:
        """Return the epochs that end in a refit."""
        first, found = 0, set()
        for phase in self._params.phases:
            if phase.refit_at:
                found.add(first + max(1, round(phase.refit_at * phase.epochs)) - 1)
            first += phase.epochs
        return found

    def first_facet(self, phase: int) -> int:
        """Return the shallowest facet that takes part in a phase."""
        return 0 if len(self._params.phases) == 1 else self._n_facets - 1 - phase

    def at(self, start: int, n_steps: int) -> StepCoefficients:
        """Return the coefficients of the steps ``start`` … ``start + n_steps - 1``."""
        step = np.arange(start, start + n_steps)
        return StepCoefficients(self._rate(step), self._kl_weight(step), self._fade_in(step))

    def _phase_of(self, step: int) -> int:
        return int(np.searchsorted(self._phase_starts, step, side="right")) - 1

    def _rate(self, step: np.ndarray) -> np.ndarray:
        params = self._params
        phase = np.searchsorted(self._phase_starts, step, side="right") - 1
        # With restarts every phase has a warm-up and a decay of its own, so that a newcomer meets a full rate.
        is_restarted = params.decay == "restarts"
        begin = self._phase_starts[phase] if is_restarted else np.zeros_like(step)
        end = self._phase_starts[phase + 1] if is_restarted else np.full_like(step, self.n_steps)
        warm = np.minimum(1.0, (step - begin + 1) / max(params.warmup_steps, 1))
        if params.decay == "constant":
            return params.learning_rate * warm
        return params.learning_rate * warm * 0.5 * (1.0 + np.cos(np.pi * (step - begin) / (end - begin)))

    def _kl_weight(self, step: np.ndarray) -> np.ndarray:
        is_early = step < self._params.kl_epochs * self.steps_per_epoch
        return np.where(is_early, self._params.kl_weight, 1.0)

    def _fade_in(self, step: np.ndarray) -> np.ndarray:
        fade = np.ones((len(step), self._n_facets))
        if len(self._params.phases) == 1:
            return fade
        for phase, (begin, end) in enumerate(zip(self._phase_starts[:-1], self._phase_starts[1:], strict=True)):
            facet = self._n_facets - 1 - phase
            length = self._params.phases[phase].fade_in * (end - begin)
            if phase == 0 or length == 0:
                fade[:, facet] = step >= begin
            else:
                fade[:, facet] = np.clip((step - begin) / length, 0.0, 1.0)
        return fade
