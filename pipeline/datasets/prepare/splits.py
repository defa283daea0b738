"""Writes the stores of both splits in their final order, once it is known."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from pipeline.config.sections import PreprocessParams
from pipeline.core.errors import DataError
from pipeline.core.progress import Progress, progress
from pipeline.datasets.decoding.transform import ImageTransform
from pipeline.datasets.prepare.catalogue import Columns
from pipeline.datasets.prepare.spool import Spool, Take
from pipeline.datasets.readers.block import rows_per_block
from pipeline.datasets.store.images import ImageStore
from pipeline.datasets.store.spec import ImageBlock, InputSpec, Shape, Split
from pipeline.datasets.store.writer import StoreWriter, create_store

Rows = Mapping[Split, Int64[np.ndarray, " image"]]
"""Images of each split, as places in the catalogue, in the order of the stores."""


def write_splits(
    folder: Path, columns: Columns, rows: Rows, params: PreprocessParams, spool: Spool, shards: Sequence[Path]
) -> None:
    """Write ``<split>.h5`` for each split: images of the source from the spool, joined ones straight from their shards.

    Args:
        folder: to write into.
        columns: of all images.
        rows: of each split, sorted by batch.
        params: that the source was read with.
        spool: images of the source; its parts are gone afterwards.
        shards: store of each joined batch, in a folder of the batch's name.

    Raises:
        DataError: a shard is damaged, or its images cannot take the shape of the source's.
        ResourceError: the disk is full.
    """
    shape = spool.image_shape
    assert shape is not None
    spec = InputSpec.pixels(shape)
    rule = f"the source's own, else by content: test_fraction {params.test_fraction}, split_seed {params.split_seed}"
    with ExitStack() as stack:
        bar = stack.enter_context(progress("write", sum(map(len, rows.values()))))
        stores = {
            name: stack.enter_context(create_store(folder / f"{name}.h5", spec, source=params.source, split_rule=rule))
            for name in rows
        }
        n_rows = rows_per_block(spec.n_bytes)
        writers = [_SplitWriter(name, columns, stores[name], n_rows, bar) for name in rows]
        places = [_by_batch(rows[name], columns, 1 + len(shards)) for name in rows]
        _write_source(writers, [batches[0] for batches in places], columns, spool)
        for number, path in enumerate(shards, 1):
            with _open_joined(path, ImageTransform.for_model(params, shape), shape) as take:
                for writer, batches in zip(writers, places, strict=True):
                    writer.append(batches[number], path.parent.name, take)


@dataclass(frozen=True)
class _SplitWriter:
    name: Split
    columns: Columns
    store: StoreWriter
    n_rows: int
    bar: Progress

    def append(self, places: Int64[np.ndarray, " image"], batch: str, take: Take) -> None:
        """Append images of one batch, a block of rows at a time."""
        for start in range(0, len(places), self.n_rows):
            some = places[start : start + self.n_rows]
            images, ids = take(self.columns.position[some]), self.columns.image_ids(some)
            self.store.append(images, ids, np.full(len(some), batch, "S14"))
            self.bar.advance(len(some))


def _by_batch(places: Int64[np.ndarray, " image"], columns: Columns, n_batches: int) -> list[np.ndarray]:
    """Cut a split's images, sorted by batch, into those of each batch."""
    return np.split(places, np.searchsorted(columns.batch[places], np.arange(1, n_batches)))


def _write_source(
    writers: Sequence[_SplitWriter], places: Sequence[np.ndarray], columns: Columns, spool: Spool
) -> None:
    """Write the source's images of all splits, part by part; ``places`` are those of each writer by hash."""
    parts = [spool.part_of(columns.hashes[some]) for some in places]
    for part, take in enumerate(spool.parts(columns.hashes[columns.batch == 0])):
        for writer, some, part_of in zip(writers, places, parts, strict=True):
            start, stop = np.searchsorted(part_of, [part, part + 1])
            writer.append(some[start:stop], writer.name, take)


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
