"""Writes the stores of both splits in their final order, once it is known."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from pipeline.config.sections import PreprocessParams
from pipeline.datasets.catalogue import Columns
from pipeline.datasets.source import Split, rows_per_block
from pipeline.datasets.spool import Spool
from pipeline.datasets.store import ImageBlock, ImageStore
from pipeline.datasets.store_writer import StoreWriter, create_store
from pipeline.datasets.transform import ImageTransform, Shape
from pipeline.errors import DataError
from pipeline.progress import Progress, progress

Rows = Mapping[Split, Int64[np.ndarray, " image"]]
"""Images of each split, as places in the catalogue, in the order of the stores."""

Take = Callable[[Int64[np.ndarray, " image"]], ImageBlock]
"""Returns the images at some positions of a source or a batch, at model size."""


def write_splits(
    folder: Path, columns: Columns, rows: Rows, params: PreprocessParams, spool: Spool, shards: Sequence[Path]
) -> None:
    """Write ``<split>.h5`` for each split: images of the source from the spool, joined ones straight from their shards.

    Args:
        folder: to write into.
        columns: of all images.
        rows: of each split, sorted by batch.
        params: that the source was read with.
        spool: images of the source.
        shards: store of each joined batch, in a folder of the batch's name.

    Raises:
        DataError: a shard is damaged, or its images cannot take the shape of the source's.
        ResourceError: the disk is full.
    """
    shape = spool.image_shape
    assert shape is not None
    rule = f"the source's own, else by content: test_fraction {params.test_fraction}, split_seed {params.split_seed}"
    transform = ImageTransform.for_model(params, shape)
    with progress("write", sum(map(len, rows.values()))) as bar:
        for name, places in rows.items():
            edges = np.searchsorted(columns.batch[places], np.arange(len(shards) + 2)).tolist()
            with create_store(folder / f"{name}.h5", shape, source=params.source, split_rule=rule) as store:
                writer = _SplitWriter(store, columns, rows_per_block(int(np.prod(shape))), bar)
                writer.append(places[: edges[1]], name, spool.take)
                for path, (start, stop) in zip(shards, pairwise(edges[1:]), strict=True):
                    if start < stop:
                        with _open_joined(path, transform, shape) as take:
                            writer.append(places[start:stop], path.parent.name, take)


@dataclass(frozen=True)
class _SplitWriter:
    store: StoreWriter
    columns: Columns
    n_rows: int
    bar: Progress

    def append(self, places: Int64[np.ndarray, " image"], batch: str, take: Take) -> None:
        """Append images of one batch, a block of rows at a time."""
        for start in range(0, len(places), self.n_rows):
            some = places[start : start + self.n_rows]
            images, ids = take(self.columns.position[some]), self.columns.image_ids(some)
            self.store.append(images, ids, np.full(len(some), batch, "S14"))
            self.bar.advance(len(some))


@contextmanager
def _open_joined(path: Path, transform: ImageTransform, shape: Shape) -> Iterator[Take]:
    with ImageStore(path, transform) as shard:

        def take(positions: Int64[np.ndarray, " image"]) -> ImageBlock:
            order = np.argsort(positions)
            found = shard.take(positions[order])
            if found.shape[1:] != shape:
                raise DataError(
                    f"{path} must hold images that become {shape} (channels, height, width) like those of the source, "
                    f"got {found.shape[1:]}; remove the batch from the experiment"
                )
            images = np.empty_like(found)
            images[order] = found
            return images

        yield take
