"""What a backbone is, and how the one that parameters name is opened."""

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

from pipeline.config.backbones import BACKBONES
from pipeline.config.lookup import look_up
from pipeline.config.sections import FeatureParams
from pipeline.core.extras import as_missing_extra


@runtime_checkable
class Backbone(Protocol):
    """A frozen network without its classifier; built by ``Kind(model, weights)``.

    ``model`` is what stands behind the kind in ``preprocess.features.backbone``, empty for a kind without models;
    ``weights`` the path of a file, or None for the network's own.

    Attributes:
        image_size: height and width of the pictures that it takes.
        n_features: numbers that it makes of each.
        sha256: of its weights.
    """

    image_size: tuple[int, int]
    n_features: int
    sha256: str

    def embed(self, images: UInt8[np.ndarray, "image 3 height width"]) -> Float32[np.ndarray, "image feature"]:
        """Return the features of some pictures, all of which the network takes at once."""
        ...


def open_backbone(params: FeatureParams, root: Path) -> Backbone:
    """Return the network that parameters name, with its weights.

    Args:
        params: section ``preprocess.features``.
        root: where a relative path of weights starts.

    Raises:
        DataError: the weights are missing, damaged, or of another network, or cannot be downloaded.
        ResourceError: a package is missing; the message names the extra that brings it.
    """
    kind, _, model = params.backbone.partition("/")
    with as_missing_extra():
        network: Any = look_up("pipeline.backbones", BACKBONES[kind].network)
        return network(model, None if params.weights is None else root / params.weights)
