"""Images through a frozen network: features for a model, small pictures for people."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float32

from pipeline.backbones.base import Backbone
from pipeline.config.sections import PreprocessParams
from pipeline.core.errors import DataError
from pipeline.datasets.decoding.transform import ImageTransform
from pipeline.datasets.inputs.prepared import Prepared, RowKind
from pipeline.datasets.readers.block import Block
from pipeline.datasets.store.spec import Embedder, InputSpec, Pictures, Shape


class Embedded:
    """Makes features and small pictures of blocks of images.

    Args:
        params: section ``preprocess``, with features.
        backbone: that it names.

    Attributes:
        kind: of what it makes.
        transform: from images of any size to what the network takes.
    """

    def __init__(self, params: PreprocessParams, backbone: Backbone) -> None:
        assert params.features is not None
        assert params.size is not None
        self._backbone, self._batch_size = backbone, params.features.batch_size
        self.transform = ImageTransform(backbone.image_size, params.fit, "rgb")
        colours = "grey" if params.channels == "grey" else "rgb"
        self._thumbnail = ImageTransform((params.size[0], params.size[1]), "stretch", colours)
        embedder = Embedder(params.features.backbone, backbone.sha256)
        shape = self._thumbnail.output_shape((3, 1, 1))
        self.kind = RowKind(InputSpec.features(backbone.n_features, embedder), shape)

    def reading(self, params: PreprocessParams) -> PreprocessParams:
        """Return what readers are asked for: images as the network takes them."""
        return replace(params, size=self.transform.size, channels="rgb", features=None)

    def apply(self, block: Block) -> Prepared:
        """Return features and pictures of a block.

        Raises:
            DataError: it holds rows in place of images, or the network makes of one what is not finite.
        """
        if block.rows is not None:
            raise DataError(
                "preprocess.features.backbone takes images, got rows of numbers, which are features already; set "
                "preprocess.features to null"
            )
        images = self.transform.apply(block.pixels)
        features = np.concatenate(
            [self._embed(images[start : start + self._batch_size]) for start in range(0, len(images), self._batch_size)]
        )
        odd = np.flatnonzero(~np.isfinite(features).all(axis=1))
        if len(odd):
            raise DataError(
                f"{self.kind.spec.embedder} must make finite numbers of every image, but did not of "
                f"{block.paths[odd[0]]}; take other weights"
            )
        return Prepared(self.kind, features[:, None, None], self._thumbnail.apply(images))

    def require(self, location: str, row_width: int | None) -> None:
        """Check that a delivery holds images.

        Raises:
            DataError: it holds rows of ``row_width`` numbers.
        """
        if row_width is not None:
            raise DataError(
                f"{location} must hold images, of which the model in service takes features, got rows of {row_width} "
                "numbers; deliver the images"
            )

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape at which the network sees an image.

        Raises:
            DataError: it cannot take such an image.
        """
        return self.transform.output_shape(shape)

    def _embed(self, images: Pictures) -> Float32[np.ndarray, "image feature"]:
        return self._backbone.embed(images)
