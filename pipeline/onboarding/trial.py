"""Short trainings that tell whether a setting trains, and how far two starts agree on what they find.

Labels play no part: a trial is judged by what publishing asks of a model, and by its seeds' agreement.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Int64, UInt8

from pipeline.config.sections import InitMogParams, PhaseParams, TrainParams
from pipeline.config.service import GateParams
from pipeline.core.contingency import adjusted_rand, contingency
from pipeline.core.errors import ModelError
from pipeline.core.seeding import numpy_generator
from pipeline.core.shapes import Inputs
from pipeline.datasets.store.images import ImageStore
from pipeline.datasets.store.spec import InputSpec
from pipeline.model import MultiFacetVae
from pipeline.model.inputs import encode_blocks
from pipeline.monitoring.gate import unhealthy
from pipeline.onboarding.settings import Setting
from pipeline.training import TrainedSeed, train_in_memory
from pipeline.training.schedule import ProgressiveSchedule

MOST_IMAGES = 2000
"""Images that a trial trains on at most."""

SEEDS = (1000, 1001)
"""Of trials: not those of experiments, so that nothing that is published was chosen by its own start."""

_WELL, _PARTLY = 0.7, 0.4
"""From which agreement on two starts are said to agree well, and partly (``docs/your-own-images.md``)."""

_MOST_STEPS = 1500
_BLOCK = 2048


@dataclass(frozen=True)
class Trial:
    """How a short training of one setting ended.

    Attributes:
        setting: what was tried.
        label: what is special about it, in few words.
        faults: why seeds could not be published, one reason a seed that could not.
        n_seeds: how many were trained.
        agreement: of each facet, adjusted Rand index of the seeds' clusters, mean over pairs of seeds (1 is the same
            clusters, 0 is chance); empty with fewer than two seeds.
        seconds: that the trial took.
        seconds_per_step: of optimisation, for all seeds together.
    """

    setting: Setting
    label: str
    faults: tuple[str, ...]
    n_seeds: int
    agreement: tuple[float, ...]
    seconds: float
    seconds_per_step: float

    @property
    def is_healthy(self) -> bool:
        """Whether every seed could be published."""
        return not self.faults

    @property
    def mean_agreement(self) -> float:
        """Mean of the facets' agreement, 0 where there is none."""
        return float(np.mean(self.agreement)) if self.agreement else 0.0

    @property
    def verdict(self) -> str:
        """What people read of it."""
        if not self.is_healthy:
            return f"{len(self.faults)} of {self.n_seeds} seeds not healthy: {self.faults[0]}"
        agreed = ", ".join(f"facet {j} {in_words(value)} ({value:.2f})" for j, value in enumerate(self.agreement))
        return f"healthy; two starts agree: {agreed}" if agreed else "healthy"


@dataclass(frozen=True)
class TrialImages:
    """What trials train on.

    Attributes:
        images: a random sample of the usable images, at model size.
        spec: what one of them is.
    """

    images: Inputs
    spec: InputSpec

    @classmethod
    def of_pixels(cls, pixels: UInt8[np.ndarray, "image channel height width"]) -> "TrialImages":
        """Return trial images of an array of at most :data:`MOST_IMAGES`."""
        channels, height, width = pixels.shape[1:]
        return cls(torch.from_numpy(pixels[:MOST_IMAGES]), InputSpec.pixels((channels, height, width)))

    @classmethod
    def of_store(cls, store: ImageStore) -> "TrialImages":
        """Return trial images of a prepared split."""
        n_taken = min(MOST_IMAGES, store.n_images)
        rows = numpy_generator(0, "trial", "images").choice(store.n_images, n_taken, replace=False)
        return cls(torch.from_numpy(store.take(np.sort(rows))), store.spec)


def run_trial(
    setting: Setting, label: str, data: TrialImages, init: InitMogParams, gate: GateParams, seeds: Sequence[int] = SEEDS
) -> Trial:
    """Train some seeds for a short while and judge them.

    Args:
        setting: what to try.
        label: what is special about it.
        data: what to train on.
        init: the section of the mixtures' start.
        gate: what publishing asks of a model.
        seeds: one training each.
    """
    start = time.monotonic()
    params = _shortened(setting, len(data.images))
    steps = ProgressiveSchedule(params, setting.model.n_facets, _n_trained_on(params, len(data.images))).n_steps
    try:
        trained = train_in_memory(data.images, data.spec, seeds, setting.model, init, params, is_verbose=False)
    except ModelError as error:
        return Trial(setting, label, (str(error),) * len(seeds), len(seeds), (), time.monotonic() - start, 0.0)
    seconds = time.monotonic() - start
    faults = tuple(fault for one in trained if (fault := _fault(one, setting, gate)))
    clusters = [_clusters(one, setting, data) for one in trained if one.outcome.is_healthy]
    agreement = _agreement(clusters, setting.model.n_components) if len(clusters) > 1 else ()
    return Trial(setting, label, faults, len(seeds), agreement, time.monotonic() - start, seconds / max(1, steps))


def full_steps(setting: Setting, n_images: int) -> int:
    """Return the optimisation steps of a whole training.

    Args:
        setting: model and training.
        n_images: of the training split.
    """
    n_trained_on = _n_trained_on(setting.train, n_images)
    return ProgressiveSchedule(setting.train, setting.model.n_facets, n_trained_on).n_steps


def in_words(agreement: float) -> str:
    """Return whether two clusterings of the same images agree well, partly or little."""
    shown = round(agreement, 2)  # no number is to be shown beside the word of another one
    return "well" if shown >= _WELL else "partly" if shown >= _PARTLY else "little"


def _n_trained_on(params: TrainParams, n_images: int) -> int:
    return n_images - int(n_images * params.validation_fraction)


def _shortened(setting: Setting, n_images: int) -> TrainParams:
    """Return the training with at most :data:`_MOST_STEPS` steps, each phase shorter by the same part."""
    params = setting.train
    steps_per_epoch = -(-_n_trained_on(params, n_images) // params.batch_size)
    epochs = sum(phase.epochs for phase in params.phases)
    part = min(1.0, _MOST_STEPS / (epochs * steps_per_epoch))
    short = tuple(PhaseParams(max(1, round(p.epochs * part)), p.fade_in, p.refit_at) for p in params.phases)
    return replace(params, phases=short)


def _fault(one: TrainedSeed, setting: Setting, gate: GateParams) -> str | None:
    outcome = one.outcome
    if outcome.reason is not None:
        return outcome.reason
    model = {
        "model": asdict(setting.model),
        "seeds": [outcome.describe()],
        "selected_seed": outcome.seed,
    }
    reasons = unhealthy(model, gate, 1)
    return reasons[0] if reasons else None


def _clusters(one: TrainedSeed, setting: Setting, data: TrialImages) -> Int64[np.ndarray, "facet image"]:
    model = MultiFacetVae(setting.model, data.spec)
    model.load_state_dict({name: value[None] for name, value in one.state.items()})
    with torch.no_grad():
        blocks = [
            torch.stack([model.prior(j).exact_log_resp(qz)[0].argmax(-1) for j, qz in enumerate(posteriors)])
            for posteriors in encode_blocks(model, data.images.split(_BLOCK))
        ]
    return torch.cat(blocks, 1).numpy()


def _agreement(clusters: Sequence[Int64[np.ndarray, "facet image"]], n_components: Sequence[int]) -> tuple[float, ...]:
    """Return the adjusted Rand index of every facet, mean over pairs of seeds."""
    found = []
    for j, k in enumerate(n_components):
        tables = [contingency(one[j], other[j], k, k) for one, other in combinations(clusters, 2)]
        found.append(float(np.mean([adjusted_rand(table) for table in tables])))
    return tuple(found)
