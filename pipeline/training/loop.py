"""Training of one group of seeds from start to end: chunks, history, resume, and seeds that fail alone."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int16
from torch import Tensor

from pipeline.config.sections import TrainParams
from pipeline.core.progress import Progress
from pipeline.mixture import REFIT_IMAGES, refit_mixtures
from pipeline.model import MultiFacetVae
from pipeline.model.checkpoint import seed_state
from pipeline.training.engine import TrainingEngine
from pipeline.training.health import facet_health, held_out_clusters, mean_bound
from pipeline.training.history import Row, train_row, validation_row
from pipeline.training.images import TrainingImages
from pipeline.training.process_group import ALONE, ProcessGroup
from pipeline.training.resume import load_resume, save_resume
from pipeline.training.runtime import Runtime
from pipeline.training.schedule import Chunk
from pipeline.training.selection import SeedOutcome, collapse_reason

_MOST_HEALTH_IMAGES = 20_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedSeed:
    """What became of a seed.

    Attributes:
        outcome: whether it is healthy, and how good.
        state: its weights; the last good ones if it failed.
        history: rows of ``history.csv``.
        clusters: of the watched images after every epoch, -1 in a facet that has not joined yet.
    """

    outcome: SeedOutcome
    state: dict[str, Tensor]
    history: list[Row]
    clusters: Int16[Tensor, "epoch facet watched"]


@dataclass
class _Course:
    """What a resume file holds beside model and optimiser."""

    next_chunk: int
    epoch_sum: np.ndarray
    history: list[list[Row]]
    clusters: list[Int16[Tensor, "_ facet watched"]]  # a seed that failed has fewer epochs
    failures: dict[int, str]
    last_good: dict[int, dict[str, Tensor]]


class GroupTraining:
    """Trains the seeds of one model with a seed axis.

    Args:
        model: initialised, on the training device.
        seeds: in the order of the seed axis.
        images: the prepared split.
        params: the train section.
        runtime: device and precision.
        resume_path: where the resume file lies; ``None`` keeps none.
        processes: the processes that train this model.
    """

    def __init__(
        self,
        model: MultiFacetVae,
        seeds: Sequence[int],
        images: TrainingImages,
        params: TrainParams,
        runtime: Runtime,
        resume_path: Path | None,
        processes: ProcessGroup = ALONE,
    ) -> None:
        self._model, self._seeds, self._images, self._params = model, tuple(seeds), images, params
        self._runtime, self._resume_path, self._processes = runtime, resume_path, processes
        self._engine = TrainingEngine(model, seeds, images, params, runtime.precision, processes)
        self._validation, self._watched = images.some(images.validation_rows), images.watched.images
        n_facets = model.params.n_facets
        none = torch.empty(0, n_facets, len(self._watched), dtype=torch.int16)
        self._course = _Course(
            0, np.zeros((len(seeds), 1 + n_facets)), [[] for _ in seeds], [none for _ in seeds], {}, {}
        )

    @property
    def n_chunks(self) -> int:
        """How many chunks the whole run has."""
        return sum(1 for _ in self._engine.schedule.chunks())

    def run(self, progress: Progress) -> list[TrainedSeed]:
        """Train to the end, from the resume file if there is one."""
        self._load()
        self._keep_good()
        progress.advance(self._course.next_chunk)
        saved_at = time.monotonic()
        for number, chunk in enumerate(self._engine.schedule.chunks()):
            if number < self._course.next_chunk:
                continue
            if len(self._course.failures) == len(self._seeds):
                break
            self._run_chunk(chunk)
            self._course.next_chunk = number + 1
            progress.advance(1, self._note(chunk))
            if time.monotonic() - saved_at >= self._params.checkpoint_seconds:
                self._save()
                saved_at = time.monotonic()
        return self._finish()

    def _run_chunk(self, chunk: Chunk) -> None:
        record = self._engine.run(chunk)
        self._note_failures(chunk, record)
        self._course.epoch_sum += record.sum(0)
        if chunk.refits:
            images = self._subset(REFIT_IMAGES)
            refitted = refit_mixtures(self._model, self._seeds, images, chunk.first_facet, chunk.epoch)
            self._engine.optimizer.forget(refitted)
        if chunk.ends_epoch:
            self._end_epoch(chunk)  # after the refit: what is kept is judged

    def _subset(self, n_most: int) -> Tensor:
        rows = self._images.train_rows
        return self._images.some(rows[:: max(1, -(-len(rows) // n_most))])

    def _note_failures(self, chunk: Chunk, record: np.ndarray) -> None:
        for index, seed in enumerate(self._seeds):
            bad = np.argwhere(~np.isfinite(record[:, index]))
            if seed in self._course.failures or not len(bad):
                continue
            step, term = bad[0]
            what = "log p(x | z)" if term == 0 else f"the KL terms of facet {term - 1}"
            self._course.failures[seed] = (
                f"{what} was not finite in phase {chunk.phase}, step {chunk.start + step}; kept the last good weights"
            )

    def _end_epoch(self, chunk: Chunk) -> None:
        n_steps = self._engine.schedule.steps_per_epoch
        means = self._course.epoch_sum / n_steps
        self._course.epoch_sum = np.zeros_like(means)
        held_out = self._held_out(chunk) if len(self._validation) else None
        clusters = held_out_clusters(self._model, self._watched) if len(self._watched) else None
        if clusters is not None:
            clusters[:, : chunk.first_facet] = -1
        for index, seed in enumerate(self._seeds):
            if seed in self._course.failures:
                continue
            rows = self._course.history[index]
            rows.append(train_row(seed, chunk.epoch, chunk.phase, means[index]))
            if held_out is not None:
                rows.append(validation_row(seed, chunk.epoch, chunk.phase, held_out[index]))
            if clusters is not None:
                self._course.clusters[index] = torch.cat([self._course.clusters[index], clusters[index][None]])

    def _held_out(self, chunk: Chunk) -> np.ndarray:
        last = chunk.start + chunk.n_steps - 1
        fade_in = self._engine.schedule.at(last, 1).fade_in[0]
        return mean_bound(self._model, self._validation, chunk.first_facet, fade_in.tolist(), self._runtime.precision)

    def _note(self, chunk: Chunk) -> str:
        rows = [rows[-1] for rows in self._course.history if rows]
        if not rows:
            return f"epoch {chunk.epoch + 1} of {self._engine.schedule.n_epochs}"
        mean = float(np.mean([float(row["elbo"]) for row in rows]))
        kls = " ".join(
            f"KL{j} {np.mean([float(row[f'kl_{j}']) for row in rows]):.1f}" for j in range(self._model.params.n_facets)
        )
        return f"epoch {chunk.epoch + 1} of {self._engine.schedule.n_epochs}, ELBO {mean:.1f} nats, {kls}"

    def _keep_good(self) -> None:
        """Remember the weights of every seed that has not failed; one whose weights are not finite fails."""
        for index, seed in enumerate(self._seeds):
            if seed in self._course.failures:
                continue
            state = seed_state(self._model, index)
            if all(bool(value.isfinite().all()) for value in state.values()):
                self._course.last_good[seed] = state
            else:
                self._course.failures[seed] = f"weights were not finite {self._where()}; kept the last good ones"

    def _where(self) -> str:
        if self._course.next_chunk == 0:
            return "at the start"
        chunk = list(self._engine.schedule.chunks())[self._course.next_chunk - 1]
        return f"after phase {chunk.phase}, step {chunk.start + chunk.n_steps - 1}"

    def _save(self) -> None:
        course = self._course
        self._keep_good()
        if self._resume_path is None or not self._processes.leads:
            return
        save_resume(
            self._resume_path,
            {
                "model": self._model.state_dict(),
                "optimizer": self._engine.optimizer.state(),
                "next_chunk": course.next_chunk,
                "epoch_sum": torch.from_numpy(course.epoch_sum),
                "history": course.history,
                "clusters": course.clusters,
                "failures": course.failures,
                "last_good": {s: course.last_good[s] for s in course.failures if s in course.last_good},
            },
        )

    def _load(self) -> None:
        state = None if self._resume_path is None else load_resume(self._resume_path, self._runtime.device)
        if state is None:
            return
        self._model.load_state_dict(state["model"])
        self._engine.optimizer.load_state(state["optimizer"])
        self._course = _Course(
            state["next_chunk"],
            state["epoch_sum"].cpu().numpy(),
            state["history"],
            [clusters.cpu() for clusters in state["clusters"]],
            state["failures"],
            state["last_good"],
        )
        done, seeds = self._course.next_chunk, ", ".join(map(str, self._seeds))
        _log.warning("the training of seed %s goes on after %d of %d chunks", seeds, done, self.n_chunks)

    def _finish(self) -> list[TrainedSeed]:
        self._keep_good()
        n_epochs = self._engine.schedule.n_epochs
        health = facet_health(self._model, self._subset(_MOST_HEALTH_IMAGES))
        trained = []
        for index, seed in enumerate(self._seeds):
            history = self._course.history[index]
            failure = self._course.failures.get(seed)
            state = self._course.last_good.get(seed, {})
            if failure is not None:
                outcome = SeedOutcome(seed, failure, None, _last_epoch(history), ())
            else:
                reason = collapse_reason(health[index], self._params.min_entropy)
                outcome = SeedOutcome(seed, reason, _last_elbo(history), n_epochs, tuple(health[index]))
            trained.append(TrainedSeed(outcome, state, history, self._course.clusters[index]))
        return trained


def seed_groups(seeds: Sequence[int], runtime: Runtime) -> list[tuple[int, ...]]:
    """Return which seeds train side by side: all of them on CUDA, each alone on a CPU."""
    return [tuple(seeds)] if runtime.device.type == "cuda" else [(seed,) for seed in seeds]


def _last_elbo(history: list[Row]) -> float:
    return float(history[-1]["elbo"])


def _last_epoch(history: list[Row]) -> int:
    return int(history[-1]["epoch"]) + 1 if history else 0
