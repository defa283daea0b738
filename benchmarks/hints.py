"""What a few labels do to a collection with two truths: which facet tells which, with hints and without.

    python -m benchmarks.hints FOLDER --facets speaker digit --components 6 10 --labels 0 10 --seeds 0 1 2

A folder has images and ``labels.csv``, whose first column names files; the columns named by ``--facets`` are the
truths, and facet 0 is to be about the first. So many images of each class, drawn by the seed, are hints; scores are
those of images without any: NMI of each facet with each truth, and AMI between the facets. All images train. Hints and
scores are of two thirds of them, whatever the seed; with ``--choosing`` of the last third, so that settings are chosen
by other images than those that judge them. Images are grey, 32 by 32, and the model is preset ``directions``. A line a
run is appended to ``results/hints.jsonl``; ``--summary`` prints the means of those with this folder and sizes,
``--tables`` how many images of each class each cluster has.
"""

import argparse
import csv
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64, UInt8
from PIL import Image
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

from benchmarks.directions import directions, rows_of
from benchmarks.lines import RESULTS, write_run
from pipeline.core.seeding import numpy_generator

_SIZE = 32


def main() -> None:
    """Train, print a line a run and write it down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hints")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--facets", nargs=2, required=True, metavar="COLUMN")
    parser.add_argument("--components", nargs=2, type=int, default=[6, 10])
    parser.add_argument("--labels", nargs="+", type=int, default=[0, 10], help="hints a class")
    parser.add_argument("--weight", type=float, default=50.0)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--choosing", action="store_true", help="hints and scores are of the other third")
    parser.add_argument("--tables", action="store_true", help="also print each facet's clusters against its truth")
    parser.add_argument("--summary", action="store_true")
    given = parser.parse_args()
    if given.summary:
        _summarise(given)
        return
    images, truths = read_folder(given.folder, given.facets)
    for n_labels in given.labels:
        for seed in given.seeds:
            run = _run(images, dict(zip(given.facets, truths, strict=True)), n_labels, seed, given)
            found = {**_setting(given), "n_labels": n_labels, "seed": seed, **run}
            write_run("hints", found)


def _setting(given: argparse.Namespace) -> dict[str, Any]:
    names = ("components", "weight", "choosing")
    return {"folder": given.folder.name, "preset": "directions", **{name: getattr(given, name) for name in names}}


def read_folder(
    folder: Path, columns: list[str]
) -> tuple[UInt8[np.ndarray, "image height width"], list[Int64[np.ndarray, " image"]]]:
    """Return the images in grey, and their classes by each column."""
    with (folder / "labels.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    name = next(iter(rows[0]))
    images = []
    for row in rows:
        with Image.open(folder / row[name]) as image:
            images.append(np.asarray(image.convert("L").resize((_SIZE, _SIZE), Image.Resampling.BILINEAR)))
    return np.stack(images), [np.unique([row[column] for row in rows], return_inverse=True)[1] for column in columns]


def is_for_choosing(n_images: int) -> Bool[np.ndarray, " image"]:
    """Return which images settings are chosen by."""
    return np.isin(np.arange(n_images), np.random.default_rng(12345).permutation(n_images)[: n_images // 3])


def some_labels(
    truth: Int64[np.ndarray, " image"], among: Bool[np.ndarray, " image"], n_labels: int, seed: int, facet: int
) -> Int64[np.ndarray, " image"]:
    """Return the labels of so many images of each class, -1 elsewhere."""
    generator, hints = numpy_generator(seed, "benchmark", "hints", facet), np.full(len(truth), -1)
    for label in np.unique(truth):
        hints[generator.choice(np.flatnonzero((truth == label) & among), n_labels, replace=False)] = label
    return hints


def _run(
    images: np.ndarray, truths: dict[str, np.ndarray], n_labels: int, seed: int, given: argparse.Namespace
) -> dict[str, Any]:
    among = is_for_choosing(len(images)) == given.choosing
    facets = enumerate(truths.values()) if n_labels else ()
    hints = {j: some_labels(truth, among, n_labels, seed, j) for j, truth in facets}
    is_free = np.all([among, *(of_facet < 0 for of_facet in hints.values())], axis=0)
    model = directions(given.components, seed, hint_weight=given.weight)
    start = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the outcome says what collapsed
        model.fit(rows_of(images), hints=hints)
    clusters, (outcome,) = model.labels_[is_free].T, model.outcomes_
    if given.tables:
        for facet, (name, truth) in enumerate(truths.items()):
            print(f"facet {facet}, {name}\n{_table(clusters[facet], truth[is_free])}")
    scores = [
        {name: round(float(normalized_mutual_info_score(truth[is_free], one)), 3) for name, truth in truths.items()}
        for one in clusters
    ]
    return {
        "seconds": round(time.monotonic() - start, 1),
        "reason": outcome.reason,
        "nmi": scores,
        "between": round(float(adjusted_mutual_info_score(*clusters)), 3),
        "occupied": [facet.occupied for facet in outcome.facets],
        "entropy": [round(facet.entropy, 2) for facet in outcome.facets],
    }


def _table(clusters: Int64[np.ndarray, " image"], truth: Int64[np.ndarray, " image"]) -> str:
    """Return a line a cluster, its images of each class, the clusters of one class next to each other."""
    counts = contingency_matrix(truth, clusters).T
    order = np.lexsort((-counts.max(1), counts.argmax(1)))
    return "\n".join("".join(f"{count or '·':>5}" for count in row) for row in counts[order].tolist())


def _summarise(given: argparse.Namespace) -> None:
    """Print the mean and deviation over seeds of each facet's NMI with each truth, and which seeds collapsed."""
    lines = [json.loads(line) for line in (RESULTS / "hints.jsonl").read_text(encoding="utf-8").splitlines()]
    wanted = _setting(given).items()
    lines = [line for line in lines if all(line.get(key) == value for key, value in wanted)]
    lines = [line for line in lines if line["seed"] in given.seeds]
    for n_labels in sorted({line["n_labels"] for line in lines}):
        runs = [line for line in lines if line["n_labels"] == n_labels]
        print(f"{n_labels} hints a class, seeds {sorted(run['seed'] for run in runs)}")
        for facet in range(2):
            nmi = {name: [run["nmi"][facet][name] for run in runs] for name in given.facets}
            shown = (f"{name} {np.mean(own):.3f} ± {np.std(own, ddof=1):.3f}" for name, own in nmi.items())
            print(f"  facet {facet}: {', '.join(shown)}; clusters {[run['occupied'][facet] for run in runs]}")
        print(f"  collapsed: {[run['seed'] for run in runs if run['reason']]}")


if __name__ == "__main__":
    main()
