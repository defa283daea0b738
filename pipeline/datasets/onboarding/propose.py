"""A first experiment for a person's images: a section of ``params.yaml`` with a reason for each choice, and a picture.

The choices are rules of thumb from the experiments that the project ships. Labels play no part in them.
"""

import io
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from pipeline.config.sections import Experiment
from pipeline.config.write import section_text
from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.core.text import to_json
from pipeline.datasets.decoding.transform import ImageTransform
from pipeline.datasets.files.location import is_url, settled, storable
from pipeline.datasets.onboarding.propose_model import Choice, choose_model
from pipeline.datasets.onboarding.sample import Sample, take_sample
from pipeline.datasets.readers.own_labels import FoundLabels
from pipeline.datasets.store.spec import describe_shape

_FEWEST = 20
_LONGEST_SIDE = 64
_GREY_TOLERANCE = 2
_AS_ELSEWHERE = ("init_mog", "score", "assign", "report", "publish", "ingest", "schedule")
_SHEET_COLUMNS, _SHEET_TILE, _SHEET_GAP = 8, 64, 2


@dataclass(frozen=True)
class Proposal:
    """What to try first.

    Attributes:
        text: section of ``experiments`` in ``params.yaml``, indented by two spaces, with every key.
        contact_sheet: PNG of some images as the model will see them.
        notes: what a person should look at, one sentence each.
    """

    text: str
    contact_sheet: bytes
    notes: list[str]


def propose_experiment(layout: Layout, like_name: str, like: Experiment, location: str) -> Proposal:
    """Look at some hundred images and propose how to cluster them.

    Args:
        layout: of the new experiment, which gives its name.
        like_name: name of an experiment that is there.
        like: its parameters, taken for what images do not decide: seeds, and what follows training.
        location: folder or file of images; a path from the repository's root, or a URL.

    Raises:
        DataError: there is nothing there, no image is usable, or there are too few.
    """
    sample = take_sample(layout, like.preprocess, location)
    if sample.n_usable < _FEWEST:
        raise DataError(f"{location} must hold at least {_FEWEST} usable images, got {sample.n_usable}; add some")
    size, why_size = _choose_size(sample)
    fit, why_fit = _choose_fit(sample, size)
    pixels = sample.pixels(ImageTransform(size, fit, _all_channels(sample)), like.preprocess.max_pixels)
    channels, why_channels = _choose_channels(sample, pixels)
    pixels = ImageTransform(None, "stretch", channels).apply(pixels)
    path = _relative(layout, location)
    if storable(path) != path:
        raise DataError(f"params.yaml can name only paths that are UTF-8, got {path}; rename the folder")
    preprocess: dict[str, Choice] = {
        "source": (sample.source, f"{sample.n_images:,} images; {len(pixels):,} were looked at"),
        "path": (to_json(path), "a path below the repository, an absolute one, or a URL"),
        "factors": ("null", "of the project's own data sets only"),
        "labels": (sample.labels.value or "null", _why_labels(sample.labels)),
        "size": (f"[{size[0]}, {size[1]}]", why_size),
        "fit": (fit, why_fit),
        "channels": (channels, why_channels),
        "test_fraction": ("0.2", "held out for scoring"),
        "split_seed": ("0", "another one draws other test images"),
        "max_pixels": (str(like.preprocess.max_pixels), "larger images are set aside"),
    }
    model, train = choose_model(pixels, sample.n_usable)
    sections = {"preprocess": preprocess, "model": model, "train": train}
    return Proposal(_write(layout.experiment, sections, like_name, like), _draw(pixels), _notes(sample, pixels))


# --- images -----------------------------------------------------------------------------------------------------------


def _choose_size(sample: Sample) -> tuple[tuple[int, int], str]:
    sizes = np.array([shape[1:] for shape in sample.shapes.elements()])
    height, width = (int(side) for side in np.median(sizes, axis=0))
    n_sizes = len({shape[1:] for shape in sample.shapes})
    longest = max(height, width)
    if n_sizes > 1:
        scale = min(1.0, _LONGEST_SIDE / longest)
        size = max(4, round(height * scale / 4) * 4), max(4, round(width * scale / 4) * 4)
        return size, f"{n_sizes} sizes, in the middle {height}×{width}; larger images take longer to train"
    if longest <= _LONGEST_SIDE:
        return (height, width), "the size of all images" if sample.every == "all" else f"the size of {sample.every}"
    k = -(-longest // _LONGEST_SIDE)
    while k < longest and (height % k or width % k):
        k += 1
    if longest // k >= _LONGEST_SIDE // 2:
        return (height // k, width // k), f"{sample.every} are {height}×{width}; {k}×{k} pixels become one"
    scale = _LONGEST_SIDE / longest
    size = max(1, round(height * scale)), max(1, round(width * scale))
    return size, f"{sample.every} are {height}×{width}; larger images take longer to train"


def _choose_fit(sample: Sample, size: tuple[int, int]) -> tuple[Literal["stretch", "crop"], str]:
    wanted = math.log(size[0] / size[1])
    ratios = [math.log(shape[1] / shape[2]) for shape in sample.shapes.elements()]
    differ = sum(abs(ratio - wanted) > 0.1 for ratio in ratios)
    if differ:
        return "crop", f"{differ} of {len(ratios)} have another aspect ratio; their centre is kept"
    return "stretch", f"{sample.every} have nearly this aspect ratio"


def _all_channels(sample: Sample) -> Literal["source", "rgb"]:
    return "rgb" if {shape[0] for shape in sample.shapes} <= {1, 3} else "source"


def _choose_channels(sample: Sample, pixels: np.ndarray) -> tuple[Literal["source", "grey", "rgb"], str]:
    counts = {shape[0] for shape in sample.shapes}
    if not counts <= {1, 3}:
        return "source", f"{', '.join(map(str, sorted(counts)))} channels as they are"
    if counts == {1}:
        return "grey", f"{sample.every} are grey"
    spread = pixels.max(axis=1).astype(int) - pixels.min(axis=1)
    if (spread <= _GREY_TOLERANCE).mean() > 0.999:
        return "grey", f"stored in colour, but {sample.every} are grey"
    return "rgb", "some are grey, others in colour" if 1 in counts else f"{sample.every} are stored in colour"


def _why_labels(labels: FoundLabels) -> str:
    if labels.value:
        return "only scoring sees labels"
    return "what was found cannot be used as labels" if labels.remarks else "none were found"


# --- what a person sees -----------------------------------------------------------------------------------------------


def _write(name: str, sections: dict[str, dict[str, Choice]], like_name: str, like: Experiment) -> str:
    lines = [f"  {name}:", section_text("seeds", list(like.seeds))]
    for section, choices in sections.items():
        lines.append(f"    {section}:")
        lines += [f"      {key}: {value}  # {why}" for key, (value, why) in choices.items()]
    lines.append(f"    # What the images do not decide, as {like_name} has it:")
    rest = replace(like, init_mog=replace(like.init_mog, pretrain=None))  # of models with one facet only
    lines += [section_text(section, getattr(rest, section)) for section in _AS_ELSEWHERE]
    return "\n".join(lines) + "\n"


def _notes(sample: Sample, pixels: UInt8[np.ndarray, "image channel height width"]) -> list[str]:
    shapes = ", ".join(f"{n} × {describe_shape(shape)}" for shape, n in sample.shapes.most_common(3))
    notes = [f"looked at {sum(sample.shapes.values())} of {sample.n_images} images: {shapes}"]
    notes += [f"{n} of those looked at cannot be used: each {reason}" for reason, n in sample.reasons.most_common(3)]
    notes += sample.labels.remarks
    brightest = int(pixels.max())
    if brightest < 64:
        notes.append(
            f"no pixel is brighter than {brightest} of 255; if the files use fewer bits than they have, rescale them"
        )
    if (pixels == pixels[0]).all():
        notes.append("all images look the same; check the path")
    return notes


def _draw(pixels: UInt8[np.ndarray, "image channel height width"]) -> bytes:
    """Draw images side by side, enlarged by a whole number."""
    shown = pixels[:: -(-len(pixels) // _SHEET_COLUMNS**2)]
    shown = shown[:, :3] if shown.shape[1] >= 3 else shown[:, :1]
    zoom = max(1, _SHEET_TILE // max(shown.shape[2:]))
    tiles = np.kron(shown, np.ones((1, 1, zoom, zoom), np.uint8))
    height, width = tiles.shape[2] + _SHEET_GAP, tiles.shape[3] + _SHEET_GAP
    n_rows = -(-len(tiles) // _SHEET_COLUMNS)
    sheet = np.full((n_rows * height + _SHEET_GAP, _SHEET_COLUMNS * width + _SHEET_GAP, 3), 255, np.uint8)
    for i, tile in enumerate(tiles):
        top, left = (_SHEET_GAP + n * side for n, side in zip(divmod(i, _SHEET_COLUMNS), (height, width), strict=True))
        sheet[top : top + tile.shape[1], left : left + tile.shape[2]] = tile.transpose(1, 2, 0)
    target = io.BytesIO()
    Image.fromarray(sheet).save(target, "PNG")
    return target.getvalue()


def _relative(layout: Layout, location: str) -> str:
    if is_url(location):
        return location
    path = Path(settled(layout, location))
    root = layout.root.resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
