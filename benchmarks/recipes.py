"""Tries a change of an experiment's parameters: accuracy over epochs, seed by seed, without touching anything.

    python -m benchmarks.recipes mnist_fast --seeds 100 101 --set train.batch_size=256 model.latent_dims=[5,8]

trains each seed in a process and on a thread of its own (as many at once as there are processors), reads the prepared
training split of the repository, and prints one line for every look: ``epoch``, the bound on the held-out images, and
for each facet the accuracy on these held-out images, with components mapped to classes by majority on images that were
trained on. No test image is read: a setting that was chosen here has seen none. What was learned this way stands in
``benchmarks/recipes.md``; searches use seeds of their own, never those that are reported.
"""

import argparse
import multiprocessing
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch
import yaml

from pipeline.config import load_params
from pipeline.config.parse import parse
from pipeline.config.sections import Experiment
from pipeline.core.contingency import contingency
from pipeline.core.layout import Layout
from pipeline.datasets.store.images import ImageStore
from pipeline.evaluation.accuracy import accuracy
from pipeline.evaluation.labels import Factor, read_factors
from pipeline.model import MultiFacetVae
from pipeline.model.inputs import encode_blocks
from pipeline.training.images import TrainingImages, load_training_images
from pipeline.training.initialise import initialise_seed
from pipeline.training.loop import GroupTraining
from pipeline.training.runtime import resolve_runtime

ROOT = Path(__file__).parent.parent
_BLOCK = 4096
_MOST_MAPPED = 20_000


@dataclass(frozen=True)
class Trial:
    """One seed of an experiment, and how often to look."""

    name: str
    experiment: Experiment
    seed: int
    every: int


@dataclass(frozen=True)
class Labelled:
    """The training split, divided, with labels.

    Attributes:
        training: images, and which of them are held out.
        factors: their labels.
    """

    training: TrainingImages
    factors: dict[str, Factor]

    @property
    def mapped_rows(self) -> np.ndarray:
        """Some rows that are trained on: by their labels components are mapped."""
        rows = self.training.train_rows
        return rows[:: max(1, -(-len(rows) // _MOST_MAPPED))]

    @property
    def held_out_rows(self) -> np.ndarray:
        """Rows that are scored."""
        return self.training.validation_rows


@dataclass
class Looks:
    """Takes a look at a training whenever ``every`` epochs are over."""

    trial: Trial
    model: MultiFacetVae
    images: Labelled
    started: float = field(default_factory=time.monotonic)
    last_epoch: int = 0
    found: list[dict[str, float]] = field(default_factory=list)

    def advance(self, n: int = 1, note: str = "") -> None:
        """See ``pipeline.core.progress``: the note names the epoch."""
        if not note:
            return
        epoch = int(note.split()[1])
        is_new = epoch != self.last_epoch
        self.last_epoch = epoch
        if is_new and epoch % self.trial.every == 0:
            self.look(epoch, note)

    def look(self, epoch: int, note: str) -> None:
        """Score the model as it is."""
        self.found = self.accuracies()
        scores = " ".join(
            f"facet {j} " + " ".join(f"{name} {value:.3f}" for name, value in each.items())
            for j, each in enumerate(self.found)
        )
        seconds = time.monotonic() - self.started
        print(
            f"seed {self.trial.seed} epoch {epoch:3d} {seconds:4.0f} s  {scores}  {note.split(', ', 1)[-1]}", flush=True
        )

    def accuracies(self) -> list[dict[str, float]]:
        """Return for each facet the accuracy of every factor on the held-out images."""
        is_training = self.model.training
        known, held_out = (self._clusters(rows) for rows in (self.images.mapped_rows, self.images.held_out_rows))
        self.model.train(is_training)
        return [
            {name: self._accuracy(factor, known[j], held_out[j], k) for name, factor in self.images.factors.items()}
            for j, k in enumerate(self.model.params.n_components)
        ]

    def _accuracy(self, factor: Factor, known: np.ndarray, held_out: np.ndarray, n_components: int) -> float:
        tables = [
            contingency(ids, factor.train[rows], n_components, factor.n_classes)
            for ids, rows in ((known, self.images.mapped_rows), (held_out, self.images.held_out_rows))
        ]
        return accuracy(*tables)

    def _clusters(self, rows: np.ndarray) -> list[np.ndarray]:
        blocks = self.images.training.some(rows).split(_BLOCK)
        found = [
            [self.model.prior(j).exact_log_resp(qz)[0].argmax(-1).numpy() for j, qz in enumerate(posteriors)]
            for posteriors in encode_blocks(self.model, blocks)
        ]
        return [np.concatenate(facet) for facet in zip(*found, strict=True)]


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description="try a change of an experiment's parameters")
    parser.add_argument("experiment")
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--set", nargs="*", default=[], metavar="SECTION.KEY=VALUE", help="changes, values as YAML")
    parser.add_argument("--every", type=int, default=5, help="epochs between looks")
    arguments = parser.parse_args()
    experiment = _changed(arguments.experiment, arguments.set)
    trials = [Trial(arguments.experiment, experiment, seed, arguments.every) for seed in arguments.seeds]
    with multiprocessing.get_context("spawn").Pool(min(len(trials), multiprocessing.cpu_count())) as pool:
        results = pool.map(run, trials, chunksize=1)
    for j in range(experiment.model.n_facets):
        for name in results[0][j]:
            values = [facets[j][name] for facets in results]
            spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
            print(f"facet {j} {name}: {mean(values):.3f}{spread}  ({', '.join(f'{value:.3f}' for value in values)})")


def run(trial: Trial) -> list[dict[str, float]]:
    """Train one seed and return its last accuracies."""
    torch.set_num_threads(1)
    layout, experiment = Layout(ROOT, trial.name), trial.experiment
    cpu = torch.device("cpu")
    everything = load_training_images(layout.prepared / "train.h5", 0.0, cpu)
    model, _ = initialise_seed(trial.seed, experiment.model, everything, experiment.init_mog, cpu)
    images = load_training_images(layout.prepared / "train.h5", experiment.train.validation_fraction, cpu)
    if not len(images.validation_rows):
        raise SystemExit("train.validation_fraction must be above 0: settings are compared on held-out images")
    with ImageStore(layout.prepared / "train.h5") as train, ImageStore(layout.prepared / "test.h5") as test:
        looks = Looks(trial, model, Labelled(images, read_factors(layout.prepared, train, test)))
    training = GroupTraining(model, [trial.seed], images, experiment.train, resolve_runtime(experiment.train), None)
    (trained,) = training.run(looks)
    looks.look(looks.last_epoch, f"end, bound {trained.outcome.validation_elbo}, {trained.outcome.reason or 'healthy'}")
    return looks.found


def _changed(name: str, changes: list[str]) -> Experiment:
    section = asdict(load_params(ROOT).experiment(name))
    for change in changes:
        path, _, value = change.partition("=")
        *parents, key = path.split(".")
        place = section
        for parent in parents:
            place = place[parent]
        if key not in place:
            raise SystemExit(f"{path} is unknown; legal: {', '.join(place)}")
        place[key] = yaml.safe_load(value)
    return parse(Experiment, section, f"experiments.{name}")


if __name__ == "__main__":
    main()
