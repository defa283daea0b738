"""A first experiment on directions of features or of pixels: one preset, but for what the number of images decides."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from pipeline.config.resolve import preset_values
from pipeline.config.write import flow_text
from pipeline.core.progress import progress
from pipeline.core.text import percent
from pipeline.onboarding.inputs import THUMBNAIL
from pipeline.onboarding.number_of_clusters import ClusterNumbers, best_numbers, candidates_of, compare_numbers
from pipeline.onboarding.preprocessing import Choice
from pipeline.onboarding.section import begin_section
from pipeline.onboarding.settings import DIRECTIONS, FEWEST_PER_CLUSTER, Reasoned
from pipeline.onboarding.trial import in_words

FEATURES: Reasoned = (DIRECTIONS, "settings that were compared on collections of photographs")
ROWS: Reasoned = (DIRECTIONS, "rows of numbers; settings that were compared on features of photographs")

_MOST_STEPS = 6000
"""Optimisation steps beyond which more images take fewer epochs: five times those that a few thousand images take."""

RANDOM_STATE = 1000  # not a seed of experiments, so that nothing that is published was chosen by its own start
_SHOWN = 3  # of the numbers compared, in the remarks
_ROOM = 0.8  # of the largest share that publishing allows a cluster: training moves some images to it


def write_directions(
    name: str,
    preset: Reasoned,
    preprocess: Mapping[str, Choice],
    n_images: int,
    compared: list[ClusterNumbers] | None = None,
    noun: str = "image",
    remarks: Sequence[str] = (),
) -> str:
    """Return the section of an experiment.

    Args:
        name: of the experiment.
        preset: and why.
        preprocess: what the source decides.
        n_images: of the training split, about.
        compared: numbers of clusters; None where none were, and the preset's are taken.
        noun: what people call one of them.
        remarks: lines that stand below those of the numbers.
    """
    usual = preset_values(preset[0])
    lines = begin_section(name, [*_remarks(preset, compared), *remarks], preset, preprocess)
    if compared:
        n_components, why = list(best_of(compared).n_components), "the most stable of those compared"
    else:
        n_components = _fewer_clusters(usual["model"]["n_components"], n_images)
        why = f"at least {FEWEST_PER_CLUSTER} {noun}s a cluster, of {n_images:,} to train on"
    if n_components != usual["model"]["n_components"]:
        lines.append(f"    model: {flow_text({'n_components': n_components})}  # {why}")
    epochs = _most_epochs(usual["train"]["batch_size"], n_images)
    phases = [{**phase, "epochs": min(epochs, phase["epochs"])} for phase in usual["train"]["phases"]]
    if phases != usual["train"]["phases"]:
        lines += [
            f"    train:  # about {_MOST_STEPS:,} steps in all",
            f"      {flow_text({'phases': phases})}",
        ]
    return "\n".join(lines) + "\n"


def write_photographs(name: str, preprocess: Mapping[str, Choice], n_images: int) -> str:
    """Return the section of an experiment on features of images, of which the page shows pictures."""
    report = f"    report: {{sprite_size: {THUMBNAIL}}}  # pixels of a picture on the page\n"
    return write_directions(name, FEATURES, preprocess, n_images) + report


def compare_clusters(pixels: UInt8[np.ndarray, "image channel height width"]) -> list[ClusterNumbers]:
    """Return how stable each pair of numbers of clusters is, and show progress; none of images too few to compare.

    Args:
        pixels: of some images, at model size.
    """
    rows = rows_of_pixels(pixels)
    found: list[ClusterNumbers] = []
    n_candidates = len(candidates_of(len(rows), FEWEST_PER_CLUSTER))
    if n_candidates == 1:
        return found
    with progress("numbers of clusters", n_candidates**2, "pair") as bar:
        for numbers in compare_numbers(rows, n_read(), RANDOM_STATE, FEWEST_PER_CLUSTER):
            found.append(numbers)
            bar.advance(1)
    return found


def rows_of_pixels(pixels: UInt8[np.ndarray, "image channel height width"]) -> Float[Tensor, "image number"]:
    """Return images as the rows whose directions are read."""
    return torch.from_numpy(pixels).flatten(1).double() / 255


def n_read() -> int:
    """Return how many directions a facet of the preset reads."""
    return preset_values(DIRECTIONS)["model"]["latent_dims"][-1]


def usual_numbers(n_images: int) -> tuple[int, int]:
    """Return the preset's clusters of each facet, fewer of few images or rows to train on; shallowest first."""
    shallow, deep = _fewer_clusters(preset_values(DIRECTIONS)["model"]["n_components"], n_images)
    return shallow, deep


def best_of(compared: list[ClusterNumbers]) -> ClusterNumbers:
    """Return the numbers to propose."""
    return best_numbers(compared, _largest_share())


def _largest_share() -> float:
    return _ROOM * preset_values(DIRECTIONS)["publish"]["gate"]["max_share"]


def _remarks(preset: Reasoned, compared: list[ClusterNumbers] | None) -> list[str]:
    if not compared:
        others = (
            "one preset serves all collections"
            if preset in (FEATURES, ROWS)
            else "numbers of clusters are the usual ones"
        )
        return [f"No trial was made: {others}."]
    best = best_of(compared)
    others = sorted((one for one in compared if one is not best), key=lambda one: -one.score)
    return [
        f"Of {len(compared)} pairs of numbers of clusters, judged without labels by halves of the images (1: the same",
        "clusters are found in both, 0: chance; both facets' agreement multiplied). Pairs with a cluster of more",
        f"than {percent(_largest_share())} of the images come last.",
        *(
            f"{'→' if one is best else ' '} clusters {list(one.n_components)}: halves agree: "
            + ", ".join(f"facet {j} {in_words(value)} ({value:.2f})" for j, value in enumerate(one.stability))
            for one in [best, *others[: _SHOWN - 1]]
        ),
    ]


def _fewer_clusters(usual: list[int], n_images: int) -> list[int]:
    """Return clusters of each facet: the deepest one keeps its few, others have no more than the images allow."""
    deepest = usual[-1]
    return [*(min(k, max(deepest, n_images // FEWEST_PER_CLUSTER)) for k in usual[:-1]), deepest]


def _most_epochs(batch_size: int, n_images: int) -> int:
    """Return how many epochs each of the two phases may have."""
    return max(1, round(_MOST_STEPS * batch_size / n_images / 2))
