"""From which agreement of halves `facets new` takes a collection for more than noise.

    python -m benchmarks.reproducible [FOLDER …]

prints what halves agree by, facet 0 and facet 1, and what halves of random rows of the same spread do: of collections
without clusters, of some of scikit-learn, and of folders of images. Numbers of clusters are the preset's.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.random import RandomState
from scipy.ndimage import gaussian_filter
from sklearn import datasets

from pipeline.config.resolve import preset_values
from pipeline.core.layout import Layout
from pipeline.onboarding.directions import rows_of_pixels, usual_numbers
from pipeline.onboarding.preprocessing import choose_preprocess
from pipeline.onboarding.reproducible import judge_reproducibility
from pipeline.onboarding.sample import take_sample

_MOST = 512  # as `facets new` looks at of a table


def _without_clusters() -> Iterator[tuple[str, np.ndarray]]:
    draw = RandomState(0)
    for width in (2, 3, 10, 40):
        yield f"400 normal rows of {width}", draw.normal(size=(400, width))
    yield "400 rows of 8, heavy tails (t of 3)", draw.standard_t(3, (400, 8))
    yield "400 rows of 12 from 4 normal factors", draw.normal(size=(400, 4)) @ draw.normal(size=(4, 12))
    yield "300 images of noise, 16×16", draw.uniform(size=(300, 256))
    yield "300 images of sparse noise, 16×16", draw.uniform(size=(300, 256)) * (draw.uniform(size=(300, 256)) < 0.1)
    smooth = [gaussian_filter(draw.normal(size=(16, 16)), 2) for _ in range(300)]
    yield "300 images of smooth noise, 16×16", np.stack(smooth).reshape(300, -1)
    y, x = np.mgrid[:16, :16] / 15 - 0.5
    angle = draw.uniform(0, 2 * np.pi, 300)
    gradients = np.multiply.outer(np.cos(angle), x) + np.multiply.outer(np.sin(angle), y)
    yield "300 gradients of any angle, 16×16", (gradients + draw.normal(0, 0.01, gradients.shape)).reshape(300, -1)
    yield "400 normal rows of 2, spread 1 and 5", draw.normal(size=(400, 2)) * [1, 5]


def _of_scikit_learn() -> Iterator[tuple[str, np.ndarray]]:
    yield "iris", np.asarray(datasets.load_iris(return_X_y=True)[0])
    for name in ("wine", "breast_cancer"):
        rows = np.asarray(getattr(datasets, f"load_{name}")(return_X_y=True)[0])
        yield f"{name}, standardised", (rows - rows.mean(0)) / rows.std(0)
    yield "digits, 8×8", np.asarray(datasets.load_digits(return_X_y=True)[0]) / 16


def _of_folder(folder: str) -> np.ndarray:
    layout, usual = Layout(Path.cwd(), "own"), preset_values("small_images")["preprocess"]
    prepared = choose_preprocess(layout, take_sample(layout, usual, folder), usual["max_pixels"], folder)
    return rows_of_pixels(prepared.pixels).numpy()


def main(folders: list[str]) -> None:
    """Print a line a collection."""
    collections = [
        *_without_clusters(),
        *_of_scikit_learn(),
        *((Path(each).name, _of_folder(each)) for each in folders),
    ]
    print("| collection | halves agree | random rows of the same spread | said to be noise |\n|---|---|---|---|")
    for name, rows in collections:
        some = RandomState(0).permutation(rows)[:_MOST]
        judged = judge_reproducibility(torch.from_numpy(some), usual_numbers(round(0.8 * len(some))), "row")
        assert judged is not None
        agreed, random = (", ".join(f"{one:.2f}" for one in of) for of in (judged.stability, judged.without_clusters))
        print(f"| {name} | {agreed} | {random} | {'no' if judged.is_shown else 'yes'} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
