"""What a few labels do to an experiment: its facets with hints, judged on images that nobody said anything about.

    python -m benchmarks.hinted mnist_fast --about 1=digit --labels 0 1 3 10 --seeds 0 1 2 3 4
    python -m benchmarks.hinted mnist_fast --about 0=stroke --labels 0 10 --seeds 0 1 2 3 4
    python -m benchmarks.hinted scenes_fast --preset directions --components 4 10 --about 0=shape 1=floor_hue --seeds 0

The experiment's section of ``params.yaml`` is trained, but for the preset and sizes that are given here. So many
training images of each class, drawn by the seed, are hints, each facet's about the factor after the sign; a class needs
two, and one label tells what its images differ from. Scores are of test images: accuracy, with components mapped to
classes by majority on the training images without hints, and normalised mutual information. With ``--choosing`` they
are of the images that are held out of training, so that settings are chosen without test images. ``stroke`` is no label
of MNIST: the thickest and the thinnest third by the mean width of their strokes, twice the ink over the length of its
edge; what is between counts neither for hints nor for scores. A line a training is appended to
``results/hinted.jsonl``; ``--summary`` prints means over seeds.
"""

import argparse
import json
import time
from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64, UInt8

from benchmarks.accuracy import prepare_apart, run_stage
from benchmarks.lines import RESULTS, write_run
from pipeline.config import load_params
from pipeline.config.sections import Experiment
from pipeline.core.contingency import contingency, normalised_mutual_information
from pipeline.core.hints import HintPair, Hints, collect_hints
from pipeline.core.layout import Layout
from pipeline.core.seeding import numpy_generator
from pipeline.datasets.store.images import ImageStore
from pipeline.estimator.selected import freeze
from pipeline.evaluation.accuracy import accuracy
from pipeline.evaluation.labels import UNKNOWN, Factor, read_factors
from pipeline.model import FrozenModel
from pipeline.training.images import MemoryImages, divide_images
from pipeline.training.in_memory import train_in_memory

_BLOCK = 4096
_WHITE = 255.0

Truths = dict[str, Factor]


def main() -> None:
    """Train, print a line a training and write it down; or print the means of what was written."""
    given = _parser().parse_args()
    if given.summary:
        _summarise(given)
        return
    folder = "-".join(filter(None, (given.experiment, given.preset)))
    layout = prepare_apart(given.experiment, given.seeds, folder, preset=given.preset)
    for stage in ("resolve", "preprocess"):
        run_stage(stage, layout)
    with ImageStore(layout.prepared / "train.h5") as train, ImageStore(layout.prepared / "test.h5") as test:
        truths, images = read_factors(layout.prepared, train, test), {"train": train, "test": test}
        pixels = {name: store.read(0, store.n_images) for name, store in images.items()}
        spec = train.spec
    if "stroke" in given.about.values():
        truths["stroke"] = _by_stroke(pixels["train"], pixels["test"])
    for n_labels in given.labels:
        for seed in given.seeds:
            found = _run(pixels, spec, truths, _section(layout, given), n_labels, seed, given)
            line = {**_setting(given), "n_labels": n_labels, "seed": seed, **found}
            write_run("hinted", line)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hinted")
    parser.add_argument("experiment")
    parser.add_argument("--about", nargs="+", type=_about, action=_AsDictionary, required=True, metavar="FACET=FACTOR")
    parser.add_argument("--labels", nargs="+", type=int, default=[0, 10], help="hints a class")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--preset", help="in place of the experiment's model and training")
    parser.add_argument("--components", nargs="+", type=int, help="other numbers than the experiment's")
    parser.add_argument("--dims", nargs="+", type=int, help="other latent dimensions than the experiment's")
    parser.add_argument("--weight", type=float, help="of the hints, other than the experiment's")
    parser.add_argument("--choosing", action="store_true", help="scores are of images held out of training")
    parser.add_argument("--summary", action="store_true")
    return parser


def _about(text: str) -> tuple[int, str]:
    facet, factor = text.split("=")
    return int(facet), factor


class _AsDictionary(argparse.Action):
    def __call__(self, _parser: Any, namespace: argparse.Namespace, values: Any, _option: Any = None) -> None:
        setattr(namespace, self.dest, dict(values))


def _setting(given: argparse.Namespace) -> dict[str, Any]:
    about = {str(facet): factor for facet, factor in given.about.items()}
    names = ("experiment", "preset", "components", "dims", "weight", "choosing")
    return {"about": about, **{name: getattr(given, name) for name in names}}


def _section(layout: Layout, given: argparse.Namespace) -> Experiment:
    section = load_params(layout.root).experiment(layout.experiment)
    sizes = {"n_components": given.components, "latent_dims": given.dims}
    model = replace(section.model, **{name: tuple(value) for name, value in sizes.items() if value})
    hints = section.train.hints if given.weight is None else replace(section.train.hints, weight=given.weight)
    return replace(section, model=model, train=replace(section.train, hints=hints))


def _by_stroke(
    train: UInt8[np.ndarray, "image 1 height width"], test: UInt8[np.ndarray, "other 1 height width"]
) -> Factor:
    """Return which images have thin strokes (0) and thick ones (1), by thirds of the training split."""
    width_train, width_test = _stroke_width(train[:, 0]), _stroke_width(test[:, 0])
    thin, thick = np.quantile(width_train, [1 / 3, 2 / 3])

    def classes(width: np.ndarray) -> np.ndarray:
        return np.where(width < thin, 0, np.where(width > thick, 1, UNKNOWN))

    return Factor(classes(width_train), classes(width_test), np.array([0, 1]))


def _stroke_width(images: UInt8[np.ndarray, "image height width"]) -> Float64[np.ndarray, " image"]:
    """Return the mean width of an image's strokes, in pixels: twice the ink over the length of its edge.

    The length of an edge is the sum of the grey values' gradient (the coarea formula), so it needs no threshold.
    """
    widths = []
    for block in np.array_split(images, max(1, len(images) // _BLOCK)):
        ink = np.pad(block / _WHITE, ((0, 0), (1, 1), (1, 1)))
        down, across = np.gradient(ink, axis=(1, 2))
        gradient = np.hypot(down, across)
        widths.append(2 * ink.sum((1, 2)) / gradient.sum((1, 2)).clip(1e-9))
    return np.concatenate(widths)


def _run(
    pixels: dict[str, np.ndarray],
    spec: Any,
    truths: Truths,
    section: Experiment,
    n_labels: int,
    seed: int,
    given: argparse.Namespace,
) -> dict[str, Any]:
    images = torch.from_numpy(pixels["train"])
    divided = divide_images(MemoryImages(images, spec), len(images), section.train.validation_fraction)
    hints, hinted = _draw(truths, divided.train_rows, n_labels, seed, given.about, section.model.n_facets)
    start = time.monotonic()
    trained = train_in_memory(images, spec, [seed], section.model, section.init_mog, section.train, True, hints)[0]
    seconds = time.monotonic() - start
    model = freeze(trained.state, section.model, spec, f"seed-{seed}")
    mapped_rows = np.setdiff1d(divided.train_rows, hinted)
    scored = pixels["train"][divided.validation_rows] if given.choosing else pixels["test"]
    on_train, on_scored = _clusters(model, pixels["train"][mapped_rows]), _clusters(model, scored)
    scores = []
    for facet, n_components in enumerate(section.model.n_components):
        of_facet = {}
        for name, factor in truths.items():
            truth = factor.train[divided.validation_rows] if given.choosing else factor.test
            tables = [
                contingency(clusters, of_images, n_components, factor.n_classes)
                for clusters, of_images in (
                    (on_train[:, facet], factor.train[mapped_rows]),
                    (on_scored[:, facet], truth),
                )
            ]
            of_facet[name] = {
                "accuracy": round(accuracy(*tables), 4),
                "nmi": round(normalised_mutual_information(tables[1]), 4),
            }
        scores.append(of_facet)
    return {
        "seconds": round(seconds, 1),
        "reason": trained.outcome.reason,
        "occupied": [facet.occupied for facet in trained.outcome.facets],
        "facets": scores,
    }


def _draw(
    truths: Truths, rows: Int64[np.ndarray, " image"], n_labels: int, seed: int, about: dict[int, str], n_facets: int
) -> tuple[Hints | None, Int64[np.ndarray, " hinted"]]:
    """Return so many hints a class of every facet's factor, and the images that they are about."""
    n_images = len(next(iter(truths.values())).train)
    labels, pairs = np.full((n_images, n_facets), UNKNOWN), []
    for facet, name in about.items() if n_labels else ():
        truth, generator = truths[name].train, numpy_generator(seed, "benchmark", "hinted", facet)
        drawn = [
            generator.choice(np.intersect1d(rows, np.flatnonzero(truth == label)), n_labels, replace=False)
            for label in range(truths[name].n_classes)
        ]
        for label, chosen in enumerate(drawn):
            labels[chosen, facet] = label if n_labels > 1 else UNKNOWN
        firsts = [int(chosen[0]) for chosen in drawn] if n_labels == 1 else []
        pairs += [HintPair(one, other, facet, False) for k, one in enumerate(firsts) for other in firsts[k + 1 :]]
    hinted = np.union1d(np.flatnonzero((labels >= 0).any(1)), [row for pair in pairs for row in pair[:2]]).astype(int)
    return (collect_hints(labels, pairs) if len(hinted) else None), hinted


def _clusters(model: FrozenModel, images: np.ndarray) -> Int64[np.ndarray, "image facet"]:
    blocks = [
        np.stack([facet.cluster_id for facet in model.assign(torch.from_numpy(images[start : start + _BLOCK]))], 1)
        for start in range(0, len(images), _BLOCK)
    ]
    return np.concatenate(blocks).astype(np.int64)


def _summarise(given: argparse.Namespace) -> None:
    """Print, by hints a class, the mean and deviation over seeds of each facet's scores."""
    wanted = _setting(given).items()
    runs = defaultdict(list)
    for text in (RESULTS / "hinted.jsonl").read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        if all(line.get(key) == value for key, value in wanted) and line["seed"] in given.seeds:
            runs[line["n_labels"]].append(line)
    for n_labels, lines in sorted(runs.items()):
        print(f"{n_labels} hints a class, seeds {sorted(line['seed'] for line in lines)}")
        for facet, factors in enumerate(lines[0]["facets"]):
            for name, measures in factors.items():
                shown = []
                for measure in measures:
                    values = [line["facets"][facet][name][measure] for line in lines]
                    spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
                    shown.append(f"{measure} {np.mean(values):.4f}{spread}")
                print(f"  facet {facet}, {name}: {', '.join(shown)}")
        print(f"  collapsed: {[line['seed'] for line in lines if line['reason']]}")


if __name__ == "__main__":
    main()
