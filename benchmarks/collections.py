"""Collections of features with several truths: which facet tells which, beside clusterings of the same rows.

    python -m benchmarks.collections FEATURES.npy LABELS.csv --seeds 0 1 2 3 4
    python -m benchmarks.collections FOLDER LABELS.csv --seeds 0 1 2 3 4
    python -m benchmarks.collections FEATURES.npy LABELS.csv --summary

``FEATURES.npy`` has a row an image, ``LABELS.csv`` a line an image in the same order; its first column names it, every
other one is a truth, which no method sees. Of a folder the rows are the grey pixels of the named images, at the size
and with the numbers of clusters that ``facets new`` proposes. The model is preset ``directions``, trained by the
estimator. Beside it, with as many clusters as each facet: ``k_means_plain`` on the rows as they are; on 64 main
directions of the same rows at length one, half-whitened, k-means and a Gaussian mixture (diagonal, ten starts each),
and ``NrKmeans`` (package ``clustpy``, if it is installed). ``two_step`` is k-means, and k-means again on what its
clusters' centres leave. Scores are of all images: NMI, ARI, and the accuracy with clusters mapped to classes by
majority. A line a seed and method is appended to ``results/collections.jsonl``.
"""

import argparse
import csv
import json
import time
import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from PIL import Image
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import normalize

from benchmarks.directions import directions
from benchmarks.lines import RESULTS, write_run
from pipeline.config.resolve import preset_values
from pipeline.config.safe_yaml import safe_load
from pipeline.core.layout import Layout
from pipeline.datasets.decoding.transform import ImageTransform
from pipeline.evaluation.accuracy import accuracy_same_split
from pipeline.onboarding.directions import best_of, compare_clusters
from pipeline.onboarding.preprocessing import choose_preprocess
from pipeline.onboarding.sample import take_sample
from pipeline.onboarding.trial import MOST_IMAGES

Rows = Float[np.ndarray, "image number"]
Labels = Int[np.ndarray, " image"]
Method = Callable[[int], list[Labels]]
"""From a seed to one clustering a facet."""

_N_STARTS, _N_DIRECTIONS = 10, 64


def main() -> None:
    """Cluster, print a line a seed and method and write it down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.collections")
    parser.add_argument("rows", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--components", nargs="+", type=int, help="of each facet; default: as facets new proposes")
    parser.add_argument("--methods", nargs="+", help="of those compared; default: all")
    parser.add_argument("--summary", action="store_true", help="print means over what was written down")
    given = parser.parse_args()
    is_folder, truths = given.rows.is_dir(), read_truths(given.labels)
    rows = read_pixels(given.rows, given.labels) if is_folder else np.load(given.rows, allow_pickle=False)
    lengths = {len(rows), *map(len, truths.values())}
    if len(lengths) != 1:
        parser.error(f"features and labels need a row an image each, got {len(rows)} rows and {lengths - {len(rows)}}")
    components = given.components or (propose_components(rows) if is_folder else usual_components())
    setting = {"collection": given.rows.stem, "components": components}
    if given.summary:
        summarise(setting)
        return
    for seed in given.seeds:
        for name, method in methods(rows, components).items():
            if given.methods and name not in given.methods:
                continue
            start = time.monotonic()
            scores = [score(labels, truths) for labels in method(seed)]
            line = {**setting, "method": name, "seed": seed, "seconds": round(time.monotonic() - start, 1)}
            write_run("collections", {**line, "facets": scores})


def read_truths(path: Path) -> dict[str, Labels]:
    """Return the classes of all images by every column but the first."""
    with path.open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    return {name: np.unique([line[name] for line in lines], return_inverse=True)[1] for name in list(lines[0])[1:]}


def read_pixels(folder: Path, labels: Path) -> Rows:
    """Return the grey pixels of the images that a table names, at the size that ``facets new`` proposes."""
    layout, usual = Layout(Path(__file__).parents[1], "collection"), preset_values("small_images")["preprocess"]
    sample = take_sample(layout, usual, str(folder))
    preprocess = choose_preprocess(layout, sample, usual["max_pixels"], str(folder)).section
    height, width = safe_load(preprocess["size"][0])
    transform = ImageTransform((height, width), "stretch", "grey")
    with labels.open(encoding="utf-8") as file:
        names = [next(iter(line.values())) for line in csv.DictReader(file)]
    images = [np.asarray(Image.open(folder / name).convert("L"))[None, None] for name in names]
    return np.concatenate([transform.apply(image) for image in images]).reshape(len(images), -1) / np.float32(255)


def propose_components(rows: Rows) -> list[int]:
    """Return the numbers of clusters that ``facets new`` proposes for so many grey images."""
    pixels = np.rint(255 * rows[:MOST_IMAGES]).astype(np.uint8)
    return list(best_of(compare_clusters(pixels[:, None, None])).n_components)


def usual_components() -> list[int]:
    """Return the preset's numbers of clusters."""
    return preset_values("directions")["model"]["n_components"]


def methods(rows: Rows, components: list[int]) -> dict[str, Method]:
    """Return what is compared, by name."""
    unit = normalize(rows)
    kept = PCA(min(_N_DIRECTIONS, *rows.shape), svd_solver="full").fit(unit)
    half_white = kept.transform(unit) / np.maximum(kept.explained_variance_, 1e-12) ** 0.25
    found: dict[str, Method] = {
        "facets": lambda seed: list(directions(components, seed).fit_predict(rows).T),
        "k_means_plain": lambda seed: [_k_means(rows, k, seed) for k in components],
        "k_means": lambda seed: [_k_means(half_white, k, seed) for k in components],
        "gaussian_mixture": lambda seed: [_mixture(half_white, k, seed) for k in components],
        "two_step": partial(_two_step, half_white, components),
    }
    if find_spec("clustpy"):
        found["nr_k_means"] = partial(_nr_k_means, half_white, components)
    return found


def score(labels: Labels, truths: dict[str, Labels]) -> dict[str, dict[str, float]]:
    """Return how well a clustering agrees with every truth."""
    return {
        name: {
            "nmi": round(float(normalized_mutual_info_score(truth, labels)), 4),
            "ari": round(float(adjusted_rand_score(truth, labels)), 4),
            "accuracy": round(accuracy_same_split(contingency_matrix(truth, labels).T), 4),
        }
        for name, truth in truths.items()
    }


def summarise(setting: dict[str, Any]) -> None:
    """Print the mean and deviation over seeds of each method's NMI with each truth."""
    written = (RESULTS / "collections.jsonl").read_text(encoding="utf-8").splitlines()
    lines = [line for line in map(json.loads, written) if all(line[key] == value for key, value in setting.items())]
    for method in dict.fromkeys(line["method"] for line in lines):
        own = [line for line in lines if line["method"] == method]
        print(f"{method}, seeds {[line['seed'] for line in own]}")
        for facet in range(len(setting["components"])):
            for truth in own[0]["facets"][facet]:
                of_truth = [[line["facets"][facet][truth][key] for line in own] for key in ("nmi", "ari", "accuracy")]
                shown = ", ".join(f"{np.mean(values):.3f} ± {np.std(values):.3f}" for values in of_truth)
                print(f"  facet {facet}, {truth}: NMI, ARI, accuracy {shown}")


def _k_means(rows: Rows, n_clusters: int, seed: int) -> Labels:
    k_means = KMeans(n_clusters, n_init=_N_STARTS, random_state=seed)  # pyright: ignore[reportArgumentType]
    return k_means.fit_predict(rows)


def _mixture(rows: Rows, n_clusters: int, seed: int) -> Labels:
    mixture = GaussianMixture(n_clusters, covariance_type="diag", n_init=_N_STARTS, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # what it has found is scored all the same
        return mixture.fit_predict(rows)


def _two_step(rows: Rows, components: list[int], seed: int) -> list[Labels]:
    """Cluster from the deepest facet on; each next clustering is of what the centres leave."""
    found: list[Labels] = []
    for n_clusters in reversed(components):
        labels = _k_means(rows, n_clusters, seed)
        rows = rows - np.stack([rows[labels == c].mean(0) for c in range(n_clusters)])[labels]
        found.insert(0, labels)
    return found


def _nr_k_means(rows: Rows, components: list[int], seed: int) -> list[Labels]:
    from clustpy.alternative import NrKmeans  # pyright: ignore[reportMissingImports] - compared with where it is

    found = NrKmeans(n_clusters=list(components), random_state=np.random.RandomState(seed)).fit(rows)
    return list(found.labels_.T)


if __name__ == "__main__":
    main()
