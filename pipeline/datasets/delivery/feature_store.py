"""A store of features, whose shape the model in service prescribes."""

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.storage import require_free_space
from pipeline.datasets.delivery.delivery import Delivery
from pipeline.datasets.delivery.growing_store import new_ids
from pipeline.datasets.delivery.taker import FeatureTaker
from pipeline.datasets.files.location import storable
from pipeline.datasets.readers.block import Block
from pipeline.datasets.store.writer import create_store


class FeatureStore:
    """Takes blocks as :class:`pipeline.datasets.delivery.growing_store.GrowingStore` does. A context manager.

    Args:
        path: of the HDF5 file.
        delivery: that the blocks come from.
        taker: makes features of a block.

    Raises:
        ResourceError: the disk cannot hold them.
    """

    def __init__(self, path: Path, delivery: Delivery, taker: FeatureTaker) -> None:
        require_free_space(path, delivery.n_images * taker.kind.n_bytes)
        self._taker = taker
        self._context: Any = create_store(
            path,
            taker.kind.spec,
            source=storable(delivery.location),
            split_rule="ingested",
            picture_shape=taker.kind.picture_shape,
        )

    def __enter__(self) -> "FeatureStore":
        self._writer = self._context.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._context.__exit__(*error)

    def append(self, block: Block) -> None:
        """Append what the model takes of a block; batch ids stay empty."""
        if len(block.paths):
            found = self._taker.apply(block)
            ids = new_ids(block.hashes.tolist())
            self._writer.append(found.inputs, ids, np.full(len(ids), b"", "S14"), found.pictures)
