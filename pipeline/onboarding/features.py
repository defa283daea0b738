"""A first experiment on features: settings are those of one preset, but for what the number of images decides."""

from collections.abc import Mapping

from pipeline.config.resolve import preset_values
from pipeline.config.write import flow_text
from pipeline.onboarding.inputs import THUMBNAIL
from pipeline.onboarding.preprocessing import Choice
from pipeline.onboarding.section import begin_section
from pipeline.onboarding.settings import FEWEST_PER_CLUSTER

_PRESET = ("features", "settings that were compared on collections of photographs")

_MOST_STEPS = 6000
"""Optimisation steps beyond which more images take fewer epochs: five times those that a few thousand images take."""


def write_features(name: str, preprocess: Mapping[str, Choice], n_images: int) -> str:
    """Return the section of an experiment on features.

    Args:
        name: of the experiment.
        preprocess: what the source decides.
        n_images: of the training split, about.
    """
    remarks = ["No trial was made: one preset serves all collections of features."]
    usual = preset_values(_PRESET[0])
    lines = begin_section(name, remarks, _PRESET, preprocess)
    n_components = _fewer_clusters(usual["model"]["n_components"], n_images)
    if n_components != usual["model"]["n_components"]:
        why = f"at least {FEWEST_PER_CLUSTER} images a cluster, of {n_images:,} to train on"
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
    return write_features(name, preprocess, n_images) + report


def _fewer_clusters(usual: list[int], n_images: int) -> list[int]:
    """Return clusters of each facet: the deepest one keeps its few, others have no more than the images allow."""
    deepest = usual[-1]
    return [*(min(k, max(deepest, n_images // FEWEST_PER_CLUSTER)) for k in usual[:-1]), deepest]


def _most_epochs(batch_size: int, n_images: int) -> int:
    """Return how many epochs each of the two phases may have."""
    return max(1, round(_MOST_STEPS * batch_size / n_images / 2))
