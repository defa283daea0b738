"""A trial: do labels of a few images tell more, if images that look alike get them too?

    python -m benchmarks.spreading FOLDER --facets speaker digit --components 6 10 --labels 20 40 --seeds 100 101

Nothing of this is in the product (yet). A folder and its divisions are those of :mod:`benchmarks.ask`, and so are the
trainings: for each number of labels a facet, drawn at random or asked about (facility location on what images look
like), as they were given and spread. A line a training is printed and appended to ``results/spreading.jsonl``.

How much of a labelled image reaches another one along a graph of look-alikes is K = (I - αS)^-1 (Zhou et al., "Learning
with local and global consistency", NIPS 2003); an image's share of a label is the mean of that over the label's images.
It may take the label with the largest share, the surer, the larger this is among all. Nothing in this knows what a
facet is to be about: neighbours may share the person and not the pose. So every labelled image is first judged by the
others, as though nothing had been said of it. Where those at least as sure as some one are right in four of five cases,
and in eight cases at least, images that are as sure may take a label, and the surer three quarters of them do.
"""

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, Shaped
from scipy.sparse import coo_array, diags_array
from scipy.sparse.linalg import svds
from sklearn.neighbors import NearestNeighbors

from benchmarks.ask import answered, divide, setting_of, size_parser, trained
from benchmarks.hints import read_folder
from benchmarks.lines import write_run
from pipeline.asking import choose_images, nearness
from pipeline.core.seeding import numpy_generator

UNKNOWN = -1
_NONE = np.array([], np.int64)
N_NEIGHBOURS = 10
_N_COMPONENTS = 40
_ALPHA = 0.99  # of what reaches an image, the part that it hands on
_RIGHT = 0.8  # of the labelled images that are at least as sure
_UNSURE = 0.25  # of the images that may take a label, the part that does not
_FEWEST_JUDGED = 8  # of two labels, fewer would be right by luck too often
_TOLERANCE = 1e-6
_MOST_ITERATIONS = 500

Points = Float32[np.ndarray, "image component"]
Shares = Float64[np.ndarray, "image label"]
Rows = Int64[np.ndarray, " _"]
Labels = Int64[np.ndarray, " image"]


def main() -> None:
    """Train, print a line a training and write it down."""
    parser = size_parser("python -m benchmarks.spreading")
    parser.add_argument("--labels", nargs="+", type=int, default=[20, 40, 80], help="labels a facet")
    given = parser.parse_args()
    images, truths = read_folder(given.folder, given.facets)
    for seed in given.seeds:
        for line in _of_seed(images, truths, seed, given):
            line = {**setting_of(given), "seed": seed, **line}
            write_run("spreading", line)


def _of_seed(
    images: np.ndarray, truths: Sequence[np.ndarray], seed: int, given: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    scored, pool = divide(len(images), seed)
    points = principal_components(images[pool])
    graph = lookalike_graph(points)
    for n_labels in given.labels:
        ways = {
            "random": [_at_random(seed, n_labels, facet, pool) for facet in range(len(truths))],
            "asked": [pool[choose_images(nearness([points], n_labels), np.ones(len(pool)), _NONE, n_labels)]] * 2,
        }
        for way, rows in ways.items():
            given_labels = answered(truths, rows)
            spread = [_spread_among(pool, *of_facet, graph) for of_facet in given_labels]
            for is_spread, told in ((False, given_labels), (True, spread)):
                right = [
                    round(float((labels == truth[own]).mean()), 3)
                    for (own, labels), truth in zip(told, truths, strict=True)
                ]
                yield {
                    "way": way,
                    "n_labels": n_labels,
                    "is_spread": is_spread,
                    "n_told": [len(own) for own, _ in told],
                    "right": right,
                    **trained(images, truths, told, scored, seed, given)[1],
                }


def _at_random(seed: int, n_labels: int, facet: int, pool: Rows) -> Rows:
    return numpy_generator(seed, "benchmark", "ask", n_labels, facet).choice(pool, n_labels, replace=False)


def _spread_among(pool: Rows, rows: Rows, labels: Rows, graph: Any) -> tuple[Rows, Rows]:
    """Return the images of the pool that have a label once it has spread, and the labels."""
    known = np.full(len(pool), UNKNOWN)
    known[np.searchsorted(pool, rows)] = labels
    known = spread_labels(known, graph)
    return pool[known != UNKNOWN], known[known != UNKNOWN]


def principal_components(images: Shaped[np.ndarray, "image *shape"]) -> Points:
    """Return images by the 40 directions in which they vary most: the others are noise, and make distances alike."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(0)
    if min(flat.shape) <= _N_COMPONENTS or not flat.any():
        return flat
    start = numpy_generator(0, "benchmark", "spreading").normal(size=min(flat.shape))
    left, singular, _ = svds(flat, k=_N_COMPONENTS, v0=start)
    return (left * singular).astype(np.float32)


def lookalike_graph(points: Points) -> Any:
    """Return the graph's normalised weights S, a sparse, symmetric matrix whose eigenvalues are at most 1.

    An image is joined to each of its ten nearest by w = exp(-d²/s²), s its distance to the tenth, and they to it; S is
    D^-1/2 W D^-1/2 with D the sums of W's rows.
    """
    n_images, n_near = len(points), min(N_NEIGHBOURS, len(points) - 1)
    distance, near = NearestNeighbors(n_neighbors=n_near).fit(points).kneighbors()
    weight = np.exp(-((distance / distance[:, -1:].clip(min=np.finfo(np.float32).tiny)) ** 2)).ravel()
    own = np.repeat(np.arange(n_images), n_near)
    directed = coo_array((weight, (own, near.ravel())), shape=(n_images, n_images)).tocsr()
    joined = directed.maximum(directed.T)
    scale = diags_array(1 / np.sqrt(joined.sum(1)))
    return (scale @ joined @ scale).tocsr()


def spread_labels(labels: Labels, graph: Any) -> Labels:
    """Return the labels, also of images that look like those with one; :data:`UNKNOWN` of the others."""
    given = np.flatnonzero(labels != UNKNOWN)
    names, of_given, sizes = np.unique(labels[given], return_inverse=True, return_counts=True)
    members = np.zeros((len(labels), len(names)))
    members[given, of_given] = 1 / sizes[of_given]
    share = reach(graph, members)
    usual = float(np.median(share.sum(1)))
    sure = _sureness(share, usual)
    judged = sizes[of_given] > 1
    by_others = shares_by_others(share, given[judged], of_given[judged], sizes, graph)
    is_right = by_others.argmax(1) == of_given[judged]
    may_take = (labels == UNKNOWN) & (sure >= _least_sure(_sureness(by_others, usual), is_right))
    if not may_take.any():
        return labels
    takes = may_take & (sure >= np.quantile(sure[may_take], _UNSURE))
    return np.where(takes, names[share.argmax(1)], labels)


def shares_by_others(share: Shares, given: Rows, of_given: Rows, sizes: Rows, graph: Any) -> Shares:
    """Return the shares of labelled images as though they had no label: exact, as a share is a sum over images."""
    place = np.arange(len(given))
    alone = np.zeros((len(share), len(given)))
    alone[given, place] = 1
    itself = reach(graph, alone)[given, place]
    without = share[given]
    without[place, of_given] = (without[place, of_given] * sizes[of_given] - itself) / (sizes[of_given] - 1)
    return without.clip(0)


def _sureness(share: Shares, usual: float) -> Float64[np.ndarray, " image"]:
    """Return how large the largest of every image's shares is among all.

    An image far from all labelled ones is not sure, whatever its shares are to each other: the usual sum is added.
    """
    return share.max(1) / (share.sum(1) + usual).clip(min=np.finfo(float).tiny)


def _least_sure(sure: Float64[np.ndarray, " judged"], is_right: Bool[np.ndarray, " judged"]) -> float:
    """Return how sure an image must be: labelled ones that are as sure are right often enough by the others."""
    order = np.argsort(-sure, kind="stable")
    n_as_sure = np.arange(1, len(order) + 1)
    # One right and one wrong more than were seen: Laplace's rule of succession.
    part = (np.cumsum(is_right[order]) + 1) / (n_as_sure + 2)
    enough = np.flatnonzero((part >= _RIGHT) & (n_as_sure >= _FEWEST_JUDGED))
    return float(sure[order][enough[-1]]) if len(enough) else np.inf


def reach(graph: Any, start: Float64[np.ndarray, "image column"]) -> Float64[np.ndarray, "image column"]:
    """Return (I - αS)^-1 times every column, by conjugate gradients: a step of each column at once.

    The matrix is symmetric and positive definite, as no eigenvalue of S is above 1.
    """
    found, residual, direction = np.zeros_like(start), start.copy(), start.copy()
    squared = (residual**2).sum(0)
    enough = _TOLERANCE**2 * squared
    for _ in range(_MOST_ITERATIONS):
        moved = direction - _ALPHA * (graph @ direction)
        step = squared / (direction * moved).sum(0).clip(min=np.finfo(float).tiny)
        found += step * direction
        residual -= step * moved
        before, squared = squared, (residual**2).sum(0)
        if (squared <= enough).all():
            break
        direction = residual + squared / before.clip(min=np.finfo(float).tiny) * direction
    return found


if __name__ == "__main__":
    main()
