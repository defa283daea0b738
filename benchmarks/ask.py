"""How many answers it takes: images that ``facets ask`` would choose, against images drawn at random.

    python -m benchmarks.ask FOLDER --facets speaker digit --components 12 20 --rounds 20 40 --random 20 40 80

A folder has images and ``labels.csv``, as for :mod:`benchmarks.hints`; its labels give the answers, and nothing else
comes from them. A third of the images, drawn by the seed, is never asked about and alone is scored: NMI of facet j with
the j-th truth. Rounds are numbers of answers a facet, in all: at each, the model of the round before (at first one
without hints) chooses as many images as are missing, they are answered, and a model is trained from the start with all
answers. Random images are as many, of the same two thirds, drawn for each facet and number anew. One model a training:
what several seeds add to the choice is not in here. Both facets have six dimensions, σ is 0.2. A line a training is
appended to ``results/ask.jsonl``, and ``--summary`` prints the means of those with this folder, seeds and sizes.
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
import torch
from jaxtyping import Int64, Shaped, UInt8
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import normalized_mutual_info_score

from benchmarks.hints import read_folder
from benchmarks.lines import RESULTS, write_run
from pipeline import MultiFacetClustering
from pipeline.asking import choose_images, nearness, weigh_images
from pipeline.core.seeding import numpy_generator
from pipeline.datasets.store.spec import InputSpec
from pipeline.training.images import MemoryImages, divide_images

_DIMS = (6, 6)
_VALIDATION = 0.1
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
    images = smaller(images, given.side)
    for seed in given.seeds:
        for found in _of_seed(images, truths, seed, given):
            line = {**setting_of(given), "seed": seed, **found}
            write_run("ask", line)


def size_parser(prog: str) -> argparse.ArgumentParser:
    """Return what reads the folder, its truths, the sizes of a training, and seeds."""
    parser = argparse.ArgumentParser(prog=prog)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--facets", nargs=2, required=True, metavar="COLUMN")
    parser.add_argument("--components", nargs=2, type=int, default=[12, 20])
    parser.add_argument("--side", type=int, default=32, help="of the images, 32 or a whole part of it")
    parser.add_argument("--hidden", nargs=2, type=int, default=[500, 1000])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=30, help="of each phase")
    parser.add_argument("--weight", type=float, default=50.0)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    return parser


def setting_of(given: argparse.Namespace) -> dict[str, Any]:
    """Return what a line says of how a training was set up."""
    names = ("facets", "components", "side", "hidden", "batch", "epochs", "weight")
    return {"folder": given.folder.name, **{name: getattr(given, name) for name in names}}


def smaller(
    images: UInt8[np.ndarray, "image height width"], side: int
) -> UInt8[np.ndarray, "image new_height new_width"]:
    """Return images of so many pixels a side, means of blocks."""
    factor = images.shape[1] // side
    return np.rint(images.reshape(len(images), side, factor, side, factor).mean((2, 4))).astype(np.uint8)


def _of_seed(
    images: np.ndarray, truths: Sequence[np.ndarray], seed: int, given: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    scored, pool = divide(images, seed)
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


def divide(images: np.ndarray, seed: int) -> tuple[Rows, Rows]:
    """Return the images that are scored, and those that may be asked about: of the others, what training sees."""
    spec = InputSpec.pixels((1, *images.shape[1:]))
    seen = divide_images(MemoryImages(torch.from_numpy(images[:, None]), spec), len(images), _VALIDATION).train_rows
    scored = numpy_generator(seed, "benchmark", "ask").permutation(len(images))[: len(images) // 3]
    return np.sort(scored), np.setdiff1d(seen, scored)


def chosen_by(
    model: MultiFacetClustering, images: np.ndarray, pool: Rows, hinted: Rows, facet: int, n_chosen: int
) -> Rows:
    """Return what ``facets ask`` would ask about next, from one model; images asked about elsewhere are not in pool."""
    near = nearness([model.transform(images[pool])], len(hinted) + n_chosen)
    weights = weigh_images([model.predict_proba(images[pool])[facet]], len(hinted))
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
    model = MultiFacetClustering(
        given.components,
        _DIMS,
        hidden=[[width] for width in given.hidden],
        sigma=0.2,
        epochs=given.epochs,
        batch_size=given.batch,
        n_seeds=1,
        validation_fraction=_VALIDATION,
        hint_weight=given.weight,
        random_state=seed,
    )
    pairs = {facet: as_pairs(*of_facet) for facet, of_facet in enumerate(told)}
    start = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the outcome says what collapsed
        model.fit(images, pairs=pairs)
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
        if all(line[key] == value for key, value in wanted.items()) and line["seed"] in given.seeds
    ]
    for way in _WAYS:
        for n_hints in sorted({line["n_hints"] for line in lines if line["way"] == way}):
            runs = [line for line in lines if (line["way"], line["n_hints"]) == (way, n_hints)]
            own = np.array([[line["nmi"][j][j] for j in range(len(line["nmi"]))] + [line["score"]] for line in runs])
            shown = "  ".join(f"{m:.3f} ± {s:.3f}" for m, s in zip(own.mean(0), own.std(0, ddof=1), strict=True))
            print(f"{way:11} {n_hints:4}  {' '.join(given.facets)}, mean: {shown}  ({len(runs)} seeds)")


if __name__ == "__main__":
    main()
