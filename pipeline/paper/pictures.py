"""Pictures of the paper's kind as PNG files: examples (Fig. 4), swaps (Fig. 5), generated samples (Fig. 6)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from pipeline.core.storage import atomic_file
from pipeline.report.mosaic import Grid, Mosaic, mosaic

_WHITE = 255


def write_figures(pictures: Mapping[str, UInt8[np.ndarray, "..."]], folder: Path, prefix: str) -> list[Path]:
    """Write every picture of an experiment's paper results.

    Args:
        pictures: ``examples_facet_j`` and ``samples_facet_j`` (cluster, image, channel, height, width), ``swap_images``
            (image, channel, height, width) and ``swaps_facet_j`` (image that keeps, image that gives, …).
        folder: where the files go.
        prefix: start of the files' names, e.g. the experiment.

    Returns:
        The files, in order.

    Raises:
        ResourceError: the folder cannot be written.
    """
    written = []
    for name, found in sorted(pictures.items()):
        if name == "swap_images":
            continue
        grid = with_originals(found, pictures["swap_images"]) if name.startswith("swaps_") else found
        path = folder / f"{prefix}_{name}.png"
        write_png(path, mosaic(grid))
        written.append(path)
    return written


def with_originals(
    swaps: Grid, originals: UInt8[np.ndarray, "row channel height width"]
) -> UInt8[np.ndarray, "_ _ channel height width"]:
    """Return a table of swaps with its images as first column and first row; the corner is white."""
    corner = np.full_like(originals[:1], _WHITE)
    head = np.concatenate([corner, originals])[None]
    return np.concatenate([head, np.concatenate([originals[:, None], swaps], axis=1)])


def write_png(path: Path, picture: Mosaic) -> None:
    """Write a picture atomically."""
    with atomic_file(path) as temporary:
        Image.fromarray(picture).save(temporary, "PNG")
