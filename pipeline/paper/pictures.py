"""Pictures of the paper's kind as PNG files: examples (Fig. 4), swaps (Fig. 5), generated samples (Fig. 6)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from matplotlib import rc_context
from matplotlib.figure import Figure

from pipeline.core.storage import atomic_file
from pipeline.report.mosaic import Grid, Mosaic, mosaic

_WHITE = 255
_DPI = 100
_KINDS = {
    "examples": "test images of every cluster, surest first",
    "samples": "images made up of every cluster",
    "swaps": "rows with the facet of the image above",
}
_STYLE: dict[Any, Any] = {"text.parse_math": False, "font.size": 9}  # names are people's own


@dataclass(frozen=True)
class Words:
    """What stands beside pictures.

    Attributes:
        title: above all.
        rows: beside each row.
        columns: above each column; empty for nothing.
    """

    title: str
    rows: Sequence[str]
    columns: Sequence[str] = ()


def write_figures(
    pictures: Mapping[str, UInt8[np.ndarray, "..."]], tables: Mapping[str, Any], folder: Path
) -> list[Path]:
    """Write every picture of an experiment's paper results.

    Args:
        pictures: ``examples_facet_j`` and ``samples_facet_j`` (cluster, image, channel, height, width), ``swap_images``
            (image, channel, height, width) and ``swaps_facet_j`` (image that keeps, image that gives, …).
        tables: numbers of the same results, whose ``titles``, ``clusters`` and ``swap_clusters`` are written beside.
        folder: where the files go.

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
        path = folder / f"{tables['experiment']}_{name}.png"
        write_png(path, mosaic(grid), _words(tables, name))
        written.append(path)
    return written


def _words(tables: Mapping[str, Any], name: str) -> Words:
    kind, _, facet = name.partition("_")
    of_component = tables["titles"][facet]
    title = f"{tables['experiment']}, {facet.replace('_', ' ')}: {_KINDS[kind]}"
    if kind != "swaps":
        return Words(title, [of_component[component] for component in tables["clusters"][facet]])
    originals = ["", *(of_component[component] for component in tables["swap_clusters"][facet])]
    return Words(title, originals, originals)


def with_originals(
    swaps: Grid, originals: UInt8[np.ndarray, "row channel height width"]
) -> UInt8[np.ndarray, "_ _ channel height width"]:
    """Return a table of swaps with its images as first column and first row; the corner is white."""
    corner = np.full_like(originals[:1], _WHITE)
    head = np.concatenate([corner, originals])[None]
    return np.concatenate([head, np.concatenate([originals[:, None], swaps], axis=1)])


@rc_context(_STYLE)
def write_png(path: Path, picture: Mosaic, words: Words) -> None:
    """Write a picture with its words atomically."""
    height, width, _ = picture.shape
    figure = Figure((width / _DPI, height / _DPI))
    axes = figure.add_axes((0, 0, 1, 1), frameon=False)
    axes.imshow(picture, interpolation="none", aspect="auto")
    axes.tick_params(length=0)
    axes.set_yticks(_centres(height, len(words.rows)), words.rows)
    axes.set_xticks(_centres(width, len(words.columns)), words.columns, rotation=90)
    axes.xaxis.tick_top()
    axes.set_title(words.title, loc="left")
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI, bbox_inches="tight", pad_inches=0.05)


def _centres(length: int, n: int) -> list[float]:
    return [(index + 0.5) * length / n for index in range(n)]
