"""The estimator with the settings of preset ``directions``, which is what ``facets new`` proposes for most images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from pipeline import MultiFacetClustering
from pipeline.config.resolve import preset_values


def directions(components: Sequence[int], seed: int, **changes: Any) -> MultiFacetClustering:
    """Return an estimator that trains one seed on rows.

    Args:
        components: clusters of each facet.
        seed: of the training.
        changes: further arguments of the estimator.
    """
    values = preset_values("directions")
    model, train = values["model"], values["train"]
    return MultiFacetClustering(
        components,
        model["latent_dims"],
        hidden=model["hidden"],
        family=model["family"],
        likelihood=model["likelihood"],
        sigma=model["sigma"],
        component_std=values["init_mog"]["component_std"],
        epochs=train["phases"][0]["epochs"],
        mixture_rate=train["mixture_rate"],
        refit=any(phase["refit_at"] for phase in train["phases"]),
        batch_size=train["batch_size"],
        n_seeds=1,
        validation_fraction=0.0,  # one seed: there is nothing to choose by a bound
        random_state=seed,
        **changes,
    )


def rows_of(images: UInt8[np.ndarray, "image height width"]) -> Float32[np.ndarray, "image pixel"]:
    """Return images as rows of numbers from 0 to 1."""
    return images.reshape(len(images), -1) / np.float32(255)
