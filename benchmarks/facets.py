"""How many facets are named for rendered scenes in which one, two or three factors vary, without labels.

    python -m benchmarks.facets

Each set has 1,500 images at 32×32 with noise of 4/255 whose factors are drawn independently; all others stay as
configuration 1 of the paper has them, or in the middle. Beside the number, the part of each factor's entropy that each
facet's clusters tell. Writes ``benchmarks/results/number_of_facets.json``. The sets confirm: none of them was looked at
while the rule was developed.
"""

import time
from typing import Any

import numpy as np
import torch

from benchmarks.accuracy import ROOT
from benchmarks.machine import describe_machine
from pipeline.core.contingency import contingency, entropy, mutual_information
from pipeline.core.storage import write_json
from pipeline.datasets.readers.factors import FACTORS
from pipeline.datasets.readers.scenes import render_scenes
from pipeline.onboarding.number_of_facets import FacetNumber, number_of_facets

SETS = (
    *(("object_hue",), ("wall_hue",), ("orientation",), ("shape",), ("scale",)),
    *(("floor_hue", "scale"), ("wall_hue", "orientation"), ("shape", "orientation")),
    *(("floor_hue", "wall_hue"), ("object_hue", "shape")),
    *(("floor_hue", "wall_hue", "object_hue"), ("floor_hue", "wall_hue", "shape")),
    *(
        ("floor_hue", "shape", "orientation"),
        ("wall_hue", "shape", "orientation"),
        ("floor_hue", "object_hue", "scale"),
    ),
)
"""The factors that vary in each."""

_N_IMAGES, _SIDE, _NOISE = 1500, 32, 4 / 255
_FIXED = {"floor_hue": 0, "wall_hue": 5, "object_hue": 6, "scale": 4, "shape": 0, "orientation": 7}
_RANDOM_STATE = 0


def main() -> None:
    """Name numbers, write, print a table."""
    found = [_measure(names) for names in SETS]
    right = sum(one["named"] == len(one["factors"]) for one in found)
    result = {
        "command": "python -m benchmarks.facets",
        "machine": describe_machine(),
        "right": right,
        "of": len(found),
        "sets": found,
    }
    write_json(ROOT / "benchmarks" / "results" / "number_of_facets.json", result)
    print(f"{right} of {len(found)}")


def _measure(names: tuple[str, ...]) -> dict[str, Any]:
    rows, factors = draw_scenes(names)
    start = time.process_time()
    found = number_of_facets(rows, _RANDOM_STATE)
    seconds = round(time.process_time() - start, 1)
    told = _told(found, factors)
    print(
        f"{', '.join(names):<34} {found.n_facets}  {found.presence[0]:.2f} {found.presence[1]:.2f}  {seconds} s  {told}"
    )
    presence = [round(value, 3) for value in found.presence]
    return {"factors": names, "named": found.n_facets, "presence": presence, "seconds": seconds, "told": told}


def draw_scenes(names: tuple[str, ...]) -> tuple[torch.Tensor, dict[str, np.ndarray]]:
    """Return pixels in [0, 1], a row an image, and the values of the factors that vary."""
    generator = np.random.default_rng(_RANDOM_STATE)
    drawn = {name: generator.integers(FACTORS[name], size=_N_IMAGES) for name in names}
    factors = np.stack([drawn.get(name, np.full(_N_IMAGES, value)) for name, value in _FIXED.items()], axis=1)
    images = render_scenes(factors)
    small = images.reshape(_N_IMAGES, _SIDE, 2, _SIDE, 2, 3).mean(axis=(2, 4)) / 255
    rows = small.reshape(_N_IMAGES, -1) + generator.normal(0, _NOISE, (_N_IMAGES, _SIDE * _SIDE * 3))
    return torch.from_numpy(rows.astype(np.float32)), drawn


def _told(found: FacetNumber, factors: dict[str, np.ndarray]) -> list[dict[str, float]]:
    """Return for each facet the part of each factor's entropy that its clusters tell."""
    told = []
    for clusters in found.clusters:
        tables = {
            name: contingency(clusters, values, int(clusters.max()) + 1, FACTORS[name])
            for name, values in factors.items()
        }
        told.append({name: round(mutual_information(of) / entropy(of.sum(axis=0)), 3) for name, of in tables.items()})
    return told


if __name__ == "__main__":
    main()
