"""What each facet still tells of a transformation, with and without ``train.ignores``, and what that costs a step.

    python -m benchmarks.ignores digits --ignores rotate=20 shift=12 --components 20 20 --dims 5 5
    python -m benchmarks.ignores FOLDER --labels digit speaker --ignores time_shift=20

``digits`` are those of scikit-learn. A folder has images and ``labels.csv``, whose first column names files; they are
taken grey, 32 by 32. Facet 1 ignores what is named, facet 0 nothing. For each seed three models are trained: one that
ignores nothing, one on views alone, one whose clusters of image and view are to be alike too. From the posterior means
of views whose transformation is known an MLP then reads how each was transformed: R² on images it was not fitted on,
of every transformation by itself. NMI is that of clusters with labels. A line a model, and one with the time of a
step, is appended to ``results/ignores.jsonl``.
"""

import argparse
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64, UInt8
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import normalized_mutual_info_score, r2_score
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.hints import read_folder
from benchmarks.lines import Side, write_run
from pipeline import MultiFacetClustering
from pipeline.core.seeding import numpy_generator
from pipeline.datasets.store.spec import InputSpec
from pipeline.estimator.settings import init_section, model_section, train_section
from pipeline.model import MultiFacetVae
from pipeline.model.checkpoint import seed_state
from pipeline.training.engine import TrainingEngine
from pipeline.training.images import MemoryImages, divide_images
from pipeline.training.initialise import initialise_seed
from pipeline.views import View

Pictures = UInt8[np.ndarray, "image height width"]
Truths = dict[str, Int64[np.ndarray, " image"]]

_VIEWS = 4  # of an image, for the MLP
_ROUNDS, _STEPS = 9, 20  # of what is timed
_KINDS: dict[str, dict[str, Any]] = {"nothing": {"ignores": None}, "views": {"view_weight": 0.0}, "views and term": {}}


def main() -> None:
    """Train, probe, time; print a line each and write it down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ignores")
    parser.add_argument("collection", help="digits, or a folder")
    parser.add_argument("--labels", nargs="*", default=["digit"], metavar="COLUMN")
    parser.add_argument("--ignores", nargs="+", required=True, metavar="NAME=AMOUNT")
    parser.add_argument("--components", nargs=2, type=int, default=[12, 20])
    parser.add_argument("--dims", nargs=2, type=int, default=[6, 6])
    parser.add_argument("--hidden", nargs=2, type=int, default=[500, 1000])
    parser.add_argument("--sigma", type=float, default=0.2)
    parser.add_argument("--epochs", type=int, default=30, help="of each phase")
    parser.add_argument("--weight", type=float, default=2.0, help="of the term")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    given = parser.parse_args()
    images, truths = _read(given.collection, given.labels)
    ignored = {name: float(amount) for name, amount in (one.split("=") for one in given.ignores)}
    parameters = {
        "n_components": given.components,
        "latent_dims": given.dims,
        "hidden": [[width] for width in given.hidden],
        "sigma": given.sigma,
        "epochs": given.epochs,
        "n_seeds": 1,
        "ignores": [None, ignored],
        "view_weight": given.weight,
    }
    common = {"collection": Path(given.collection).name, **parameters}
    write_run("ignores", {**common, "step": _step_time(images, parameters)})
    for seed in given.seeds:
        for kind, changed in _KINDS.items():
            write_run(
                "ignores", {**common, "model": kind, **_run(images, truths, {**parameters, **changed}, ignored, seed)}
            )


def _read(collection: str, labels: list[str]) -> tuple[Pictures, Truths]:
    if collection == "digits":
        digits, digit = (np.asarray(part) for part in load_digits(return_X_y=True))
        return (digits * 15.9375).astype(np.uint8).reshape(-1, 8, 8), {"digit": digit.astype(np.int64)}
    images, truths = read_folder(Path(collection), labels)
    return images, dict(zip(labels, truths, strict=True))


def _run(
    images: Pictures, truths: Truths, parameters: dict[str, Any], ignored: dict[str, float], seed: int
) -> dict[str, Any]:
    model = MultiFacetClustering(**parameters, random_state=seed)
    start = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the outcome says what collapsed
        model.fit(images)
    seconds, (outcome,) = time.monotonic() - start, model.outcomes_
    return {
        "seed": seed,
        "seconds": round(seconds, 1),
        "reason": outcome.reason,
        "entropy": [round(facet.entropy, 2) for facet in outcome.facets],
        "nmi": [
            {name: round(float(normalized_mutual_info_score(truth, one)), 3) for name, truth in truths.items()}
            for one in model.labels_.T
        ],
        "r2": {name: _told(model, images, {name: amount}, seed) for name, amount in ignored.items()},
    }


def _told(model: MultiFacetClustering, images: Pictures, ignored: dict[str, float], seed: int) -> list[float]:
    """Return, facet by facet, the R² with which an MLP reads the transformation of unseen images' views."""
    generator, view = numpy_generator(seed, "benchmark", "ignores"), View(ignored)
    numbers = generator.random((_VIEWS * len(images), view.n_numbers))
    floats = torch.from_numpy(np.tile(images, (_VIEWS, 1, 1))[:, None] / 255)
    seen = (255 * view(floats, torch.from_numpy(numbers))[:, 0]).round().numpy().astype(np.uint8)
    is_fitted_on = np.tile(generator.random(len(images)) < 0.5, _VIEWS)  # all views of an image, or none
    latents = np.split(model.transform(seen), np.cumsum(model.latent_dims)[:-1], axis=1)
    return [_r2(z, numbers, is_fitted_on) for z in latents]


def _r2(
    z: Float64[np.ndarray, "view latent"], numbers: Float64[np.ndarray, "view number"], is_fitted_on: np.ndarray
) -> float:
    probe = make_pipeline(
        StandardScaler(), MLPRegressor(hidden_layer_sizes=(64, 64), early_stopping=True, random_state=0)
    )
    probe.fit(z[is_fitted_on], numbers[is_fitted_on].squeeze())
    return round(float(r2_score(numbers[~is_fitted_on], probe.predict(z[~is_fitted_on]))), 3)


def _step_time(images: Pictures, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the processor's seconds for the same steps, of the last phase on one thread, with views and without.

    They are taken by turns; what else runs on the machine counts less in them than in the seconds of the clock.
    """
    torch.set_num_threads(1)
    sides = []
    for changed in _KINDS.values():
        engine = _engine(images, {**MultiFacetClustering().get_params(), **parameters, **changed})
        chunk = next(chunk for chunk in engine.schedule.chunks() if chunk.phase == 1)
        chunk = replace(chunk, n_steps=min(_STEPS, chunk.n_steps), ends_epoch=False)
        sides.append(lambda engine=engine, chunk=chunk: engine.run(chunk))
        sides[-1]()  # one to warm up
    rounds = np.array([[_processor_time(side) for side in sides] for _ in range(_ROUNDS)])
    ratios = np.quantile(rounds[:, 1:] / rounds[:, :1], (0.25, 0.5, 0.75), axis=0).round(3)
    return {
        name: {"ratio": median, "spread": [low, high]}
        for name, (low, median, high) in zip(list(_KINDS)[1:], ratios.T.tolist(), strict=True)
    }


def _processor_time(side: Side) -> float:
    start = time.process_time()
    side()
    return time.process_time() - start


def _engine(images: Pictures, parameters: dict[str, Any]) -> TrainingEngine:
    params, spec = model_section(parameters), InputSpec.pixels((1, *images.shape[1:]))
    source, device = MemoryImages(torch.from_numpy(images[:, None]), spec), torch.device("cpu")
    divided = divide_images(source, len(images), 0.1)
    model = MultiFacetVae(params, spec)
    state = seed_state(initialise_seed(0, params, divided, init_section(parameters), device)[0], 0)
    model.load_state_dict({name: value[None] for name, value in state.items()})
    return TrainingEngine(model, (0,), divided, train_section(parameters), torch.float32)


if __name__ == "__main__":
    main()
