"""How far a seed that trains beside others ends from where it ends alone.

    python -m benchmarks.beside digits --seeds 100 101 102 --epochs 10 10

On a processor stage train gives every seed a model of its own; on a GPU all seeds are one model with a seed axis, whose
products round otherwise. Here both are done on the processor, with the experiment's section of ``params.yaml`` but for
the epochs of its phases: each seed alone, and all in one model. Written to ``benchmarks/results/beside.json``, by seed
and facet: the accuracy on images held out of training, named by majority on those trained on, of both, and the part of
the held-out images on whose cluster they agree.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from benchmarks.accuracy import ROOT, prepare_apart, run_stage
from benchmarks.machine import describe_machine
from pipeline.config import load_params
from pipeline.config.sections import Experiment
from pipeline.core.contingency import contingency
from pipeline.core.layout import Layout
from pipeline.core.progress import silence
from pipeline.core.storage import write_json
from pipeline.datasets.store.images import ImageStore
from pipeline.evaluation.accuracy import accuracy
from pipeline.evaluation.labels import Factor, read_factors
from pipeline.model import MultiFacetVae
from pipeline.model.checkpoint import load_weights, weights_path
from pipeline.training.health import held_out_clusters
from pipeline.training.images import TrainingImages, load_training_images
from pipeline.training.loop import GroupTraining
from pipeline.training.runtime import resolve_runtime


def main() -> None:
    """Train each seed alone and all together; print and write how far apart they end."""
    parser = argparse.ArgumentParser(description="seeds alone, and the same seeds in one model")
    parser.add_argument("experiment")
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--epochs", type=int, nargs="+", required=True, help="of each phase")
    given = parser.parse_args()
    layout = prepare_apart(given.experiment, given.seeds, f"beside-{given.experiment}")
    for stage in ("resolve", "preprocess", "init_mog"):
        run_stage(stage, layout)
    experiment = load_params(layout.root).experiment(given.experiment)
    phases = [replace(one, epochs=n) for one, n in zip(experiment.train.phases, given.epochs, strict=True)]
    experiment = replace(experiment, train=replace(experiment.train, phases=tuple(phases), device="cpu"))
    images = load_training_images(
        layout.prepared / "train.h5", experiment.train.validation_fraction, torch.device("cpu")
    )
    with ImageStore(layout.prepared / "train.h5") as train, ImageStore(layout.prepared / "test.h5") as test:
        factors = read_factors(layout.prepared, train, test)
    alone = [_clusters(layout, experiment, images, [seed])[0] for seed in given.seeds]
    together = _clusters(layout, experiment, images, given.seeds)
    found = {
        str(seed): {
            f"facet_{j}": _compared(factors, images, *pair) for j, pair in enumerate(zip(one, other, strict=True))
        }
        for seed, one, other in zip(given.seeds, alone, together, strict=True)
    }
    asked = f"{given.experiment} --seeds {' '.join(map(str, given.seeds))} --epochs {' '.join(map(str, given.epochs))}"
    result = {"command": f"python -m benchmarks.beside {asked}", "machine": describe_machine(), "seeds": found}
    write_json(ROOT / "benchmarks" / "results" / "beside.json", result)
    for seed, facets in found.items():
        print(f"seed {seed}: {facets}")


def _clusters(
    layout: Layout, experiment: Experiment, images: TrainingImages, seeds: Sequence[int]
) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    """Train some seeds in one model; return by seed and facet the clusters of trained and of held-out images."""
    model = MultiFacetVae(experiment.model, images.source.spec, len(seeds))
    for index, seed in enumerate(seeds):
        load_weights(model, index, weights_path(layout.artifact("init"), seed))
    torch.set_num_threads(1)
    with silence() as bar:
        GroupTraining(model, seeds, images, experiment.train, resolve_runtime(experiment.train), None).run(bar)
    known, held_out = (
        held_out_clusters(model, images.some(rows)).numpy() for rows in (images.train_rows, images.validation_rows)
    )
    return [list(zip(*of_seed, strict=True)) for of_seed in zip(known, held_out, strict=True)]


def _compared(
    factors: dict[str, Factor], images: TrainingImages, alone: Sequence[np.ndarray], beside: Sequence[np.ndarray]
) -> dict[str, Any]:
    n_components = 1 + max(int(ids.max()) for ids in (*alone, *beside))

    def accuracy_of(factor: Factor, clusters: Sequence[np.ndarray]) -> float:
        rows = images.train_rows, images.validation_rows
        tables = [
            contingency(ids, factor.train[which], n_components, factor.n_classes)
            for ids, which in zip(clusters, rows, strict=True)
        ]
        return round(accuracy(*tables), 4)

    accuracies = {
        name: {"alone": accuracy_of(factor, alone), "beside": accuracy_of(factor, beside)}
        for name, factor in factors.items()
    }
    return {"same_cluster": round(float(np.mean(alone[1] == beside[1])), 4), **accuracies}


if __name__ == "__main__":
    main()
