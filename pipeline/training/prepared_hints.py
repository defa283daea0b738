"""From hints by rows of the stores to the hints that stage train trains with."""

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.sections import ModelParams
from pipeline.core.errors import ConfigError, DataError
from pipeline.core.hints import HintPair, Hints, collect_hints
from pipeline.datasets.store.hints import PreparedHints
from pipeline.training.images import TrainingImages


def with_hints(images: TrainingImages, prepared: PreparedHints, model: ModelParams, where: Path) -> TrainingImages:
    """Return the training split with the hints that are not kept aside.

    Their images train, whatever rows were held out: of few hints none is to be lost. What was said of the others, and
    of images of the test split, is not looked at.

    Args:
        images: the training split.
        prepared: all hints of the experiment.
        model: the model section.
        where: the files with the hints lie, for messages.

    Raises:
        ConfigError: hints are about a facet that the model does not have, or that has one component.
        DataError: hints contradict each other, or join too few of too many images.
    """
    require_facets(prepared, model, where)
    trained = prepared.among(~prepared.is_aside)
    if not len(trained.rows):
        return images
    hints = _collect(images, trained, model.n_facets, where)
    return images.training_on(hints.rows).hinted(hints) if hints.facets() else images


def require_facets(prepared: PreparedHints, model: ModelParams, where: Path) -> None:
    """Refuse hints about facets that cannot follow them.

    Raises:
        ConfigError: there are such hints.
    """
    for facet in range(prepared.n_facets):
        n_images = len(prepared.hinted(facet))
        if n_images and (facet >= model.n_facets or model.n_components[facet] < 2):
            found = "does not exist" if facet >= model.n_facets else "has one component"
            raise ConfigError(
                f"hints in {where} must be about facets of at least two components, 0 … {model.n_facets - 1}, but "
                f"those of {n_images} images are about facet {facet}, which {found}; correct them, or "
                "model.n_components"
            )


def describe_hints(prepared: PreparedHints, n_facets: int) -> list[dict[str, Any]]:
    """Return for every facet how many images trained with hints about it, and of how many they were kept aside."""
    of_facets = [prepared.is_aside[prepared.hinted(facet)] for facet in range(n_facets)]
    return [{"trained": int((~aside).sum()), "kept_aside": int(aside.sum())} for aside in of_facets]


def _collect(images: TrainingImages, trained: PreparedHints, n_facets: int, where: Path) -> Hints:
    table = np.full((len(images.train_rows) + len(images.validation_rows), n_facets), -1)
    image, facet, label = trained.labels.T
    table[trained.rows[image], facet] = label
    pairs = [
        HintPair(int(trained.rows[a]), int(trained.rows[b]), facet, bool(is_same))
        for a, b, facet, is_same in trained.pairs.tolist()
    ]
    try:
        return collect_hints(table, pairs)
    except ValueError as error:
        raise DataError(f"{where}: {error}") from None
