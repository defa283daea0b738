"""How many answers it takes: images that ``facets ask`` would choose, against images drawn at random.

    python -m benchmarks.ask FOLDER --facets speaker digit --components 6 10 --rounds 20 40 --random 20 40 80

A folder has images and ``labels.csv``, as for :mod:`benchmarks.hints`; its labels give the answers, and nothing else
comes from them. A third of the images, drawn by the seed, is never asked about and alone is scored: NMI of facet j with
the j-th truth. Rounds are numbers of answers a facet, in all: at each, the model of the round before (at first one
without hints) chooses as many images as are missing, they are answered, and a model is trained from the start with all
answers. Random images are as many, of the same two thirds, drawn for each facet and number anew. The model is preset
``directions``, one a training: what several seeds add to the choice is not in here. A line a training is appended to
``results/ask.jsonl``, and ``--summary`` prints the means of those with this folder, seeds and sizes.
"""

import argparse
import json
import time
import warnings
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from jaxtyping import Int64, Shaped
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import normalized_mutual_info_score

from benchmarks.directions import directions, rows_of
from benchmarks.hints import read_folder
from benchmarks.lines import RESULTS, write_run
from pipeline import MultiFacetClustering
from pipeline.asking import choose_images, nearness, weigh_images
from pipeline.core.seeding import numpy_generator

_WAYS = ("none", "asked", "asked alike", "random")

Rows = Int64[np.ndarray, " _"]


def main() -> None:
    """Train, print a line a training and write it down; or print the means of what was written."""
    parser = size_parser("python -m benchmarks.ask")
    parser.add_argument("--rounds", nargs="*", type=int, default=[20, 40], help="answers a facet, in all")
    parser.add_argument("--random", nargs="*", type=int, default=[20, 40, 80], help="answers a facet")
    parser.add_argument("--summary", action="store_true")
    given = parser.parse_args()
    if given.summary:
        _summarise(given)
        return
    images, truths = read_folder(given.folder, given.facets)
    for seed in given.seeds:
        for found in _of_seed(images, truths, seed, given):
            line = {**setting_of(given), "seed": seed, **found}
            write_run("ask", line)


def size_parser(prog: str) -> argparse.ArgumentParser:
    """Return what reads the folder, its truths, the sizes of a training, and seeds."""
    parser = argparse.ArgumentParser(prog=prog)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--facets", nargs=2, required=True, metavar="COLUMN")
    parser.add_argument("--components", nargs=2, type=int, default=[6, 10])
    parser.add_argument("--weight", type=float, default=50.0)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    return parser


def setting_of(given: argparse.Namespace) -> dict[str, Any]:
    """Return what a line says of how a training was set up."""
    names = ("facets", "components", "weight")
    return {"folder": given.folder.name, "preset": "directions", **{name: getattr(given, name) for name in names}}


def _of_seed(
    images: np.ndarray, truths: Sequence[np.ndarray], seed: int, given: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    scored, pool = divide(len(images), seed)
    model, found = trained(images, truths, [], scored, seed, given)
    yield {"way": "none", "n_hints": 0, **found}
    hinted = [np.array([], np.int64) for _ in truths]
    for before, n_hints in pairwise([0, *given.rounds]):
        for facet, rows in enumerate(hinted):
            others = np.concatenate([of_facet for j, of_facet in enumerate(hinted) if j != facet])
            chosen = chosen_by(model, images, np.setdiff1d(pool, others), rows, facet, n_hints - before)
            hinted[facet] = np.concatenate([rows, chosen])
        model, found = trained(images, truths, answered(truths, hinted), scored, seed, given)
        yield {"way": "asked", "n_hints": n_hints, **found}
    for n_hints in given.random:
        drawn = [
            numpy_generator(seed, "benchmark", "ask", n_hints, facet).choice(pool, n_hints, replace=False)
            for facet in range(len(truths))
        ]
        yield {
            "way": "random",
            "n_hints": n_hints,
            **trained(images, truths, answered(truths, drawn), scored, seed, given)[1],
        }


def divide(n_images: int, seed: int) -> tuple[Rows, Rows]:
    """Return the images that are scored, and the others, which may be asked about."""
    scored = numpy_generator(seed, "benchmark", "ask").permutation(n_images)[: n_images // 3]
    return np.sort(scored), np.setdiff1d(np.arange(n_images), scored)


def chosen_by(
    model: MultiFacetClustering, images: np.ndarray, pool: Rows, hinted: Rows, facet: int, n_chosen: int
) -> Rows:
    """Return what ``facets ask`` would ask about next, from one model; images asked about elsewhere are not in pool."""
    near = nearness([model.transform(rows_of(images[pool]))], len(hinted) + n_chosen)
    weights = weigh_images([model.predict_proba(rows_of(images[pool]))[facet]], len(hinted))
    return pool[choose_images(near, weights, np.flatnonzero(np.isin(pool, hinted)), n_chosen)]


def answered(truths: Sequence[np.ndarray], asked: Sequence[Rows]) -> list[tuple[Rows, Rows]]:
    """Return the images of every facet that somebody was asked about, with the right answers."""
    return [(rows, truth[rows]) for rows, truth in zip(asked, truths, strict=True)]


def trained(
    images: np.ndarray,
    truths: Sequence[Shaped[np.ndarray, " image"]],
    told: Sequence[tuple[Rows, Rows]],
    scored: Rows,
    seed: int,
    given: argparse.Namespace,
) -> tuple[MultiFacetClustering, dict[str, Any]]:
    """Return a model that was trained with the answers to questions about some images, and how good it is.

    Args:
        images: all of them.
        truths: by which facets are scored, one a facet.
        told: of every facet, the images that were asked about, and the answers.
        scored: the images by which they are.
        seed: of the training.
        given: the sizes.
    """
    model = directions(given.components, seed, hint_weight=given.weight)
    pairs = {facet: as_pairs(*of_facet) for facet, of_facet in enumerate(told)}
    start = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the outcome says what collapsed
        model.fit(rows_of(images), pairs=pairs)
    nmi = [
        [round(float(normalized_mutual_info_score(truth[scored], of_facet[scored])), 4) for truth in truths]
        for of_facet in model.labels_.T
    ]
    own = mean(nmi[facet][facet] for facet in range(len(truths)))
    return model, {
        "score": round(own, 4),
        "nmi": nmi,
        "classes": [len(np.unique(answers)) for _, answers in told],
        "reason": model.outcomes_[0].reason,
        "seconds": round(time.monotonic() - start, 1),
    }


def as_pairs(rows: Rows, labels: Int64[np.ndarray, " _"]) -> list[tuple[int, int, bool]]:
    """Return what labels say, as pairs: a class with one image tells what that image differs from."""
    first = {label: int(rows[labels == label][0]) for label in np.unique(labels).tolist()}
    same = [(first[label], row, True) for row, label in zip(rows.tolist(), labels.tolist(), strict=True)]
    apart = [(one, other, False) for one, other in combinations(first.values(), 2)]
    return [pair for pair in same if pair[0] != pair[1]] + apart


def _summarise(given: argparse.Namespace) -> None:
    """Print, by way and number of answers, the mean and deviation over seeds of every facet's NMI with its truth."""
    wanted = setting_of(given)
    lines = [json.loads(line) for line in (RESULTS / "ask.jsonl").read_text(encoding="utf-8").splitlines()]
    lines = [
        line
        for line in lines
        if all(line.get(key) == value for key, value in wanted.items()) and line["seed"] in given.seeds
    ]
    for way in _WAYS:
        for n_hints in sorted({line["n_hints"] for line in lines if line["way"] == way}):
            runs = [line for line in lines if (line["way"], line["n_hints"]) == (way, n_hints)]
            own = np.array([[line["nmi"][j][j] for j in range(len(line["nmi"]))] + [line["score"]] for line in runs])
            shown = "  ".join(f"{m:.3f} ± {s:.3f}" for m, s in zip(own.mean(0), own.std(0, ddof=1), strict=True))
            print(f"{way:11} {n_hints:4}  {' '.join(given.facets)}, mean: {shown}  ({len(runs)} seeds)")


if __name__ == "__main__":
    main()
