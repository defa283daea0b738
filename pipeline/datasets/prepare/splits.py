"""Writes the stores of both splits in their final order, once it is known."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64, Shaped

from pipeline.config.sections import PreprocessParams
from pipeline.core.errors import DataError
from pipeline.core.progress import Progress, progress
from pipeline.datasets.decoding.transform import ImageTransform
from pipeline.datasets.inputs.prepared import Prepared, RowKind
from pipeline.datasets.prepare.catalogue import Columns
from pipeline.datasets.prepare.spool import Spool, Take
from pipeline.datasets.readers.block import rows_per_block
from pipeline.datasets.store.images import ImageStore
from pipeline.datasets.store.spec import Pictures, Shape, Split, Transformed
from pipeline.datasets.store.writer import StoreWriter, create_store

Rows = Mapping[Split, Int64[np.ndarray, " image"]]
"""Images of each split, as places in the catalogue, in the order of the stores."""


def write_splits(
    folder: Path,
    columns: Columns,
    rows: Rows,
    params: PreprocessParams,
    spool: Spool,
    kind: RowKind,
    shards: Sequence[Path],
    noun: str,
) -> None:
    """Write ``<split>.h5`` for each split: images of the source from the spool, joined ones straight from their shards.

    Args:
        folder: to write into.
        columns: of all images.
        rows: of each split, sorted by batch.
        params: that the source was read with.
        spool: images of the source; its parts are gone afterwards.
        kind: of what lies in it.
        shards: store of each joined batch, in a folder of the batch's name.
        noun: what people call one of them.

    Raises:
        DataError: a shard is damaged, or its images cannot take the shape of the source's.
        ResourceError: the disk is full.
    """
    rule = f"the source's own, else by content: test_fraction {params.test_fraction}, split_seed {params.split_seed}"
    with ExitStack() as stack:
        bar = stack.enter_context(progress("write", sum(map(len, rows.values())), noun))
        stores = {
            name: stack.enter_context(
                create_store(
                    folder / f"{name}.h5",
                    kind.spec,
                    source=params.source,
                    split_rule=rule,
                    picture_shape=kind.picture_shape,
                )
            )
            for name in rows
        }
        writers = [_SplitWriter(name, columns, stores[name], kind, bar) for name in rows]
        places = [_by_batch(rows[name], columns, 1 + len(shards)) for name in rows]
        _write_source(writers, [batches[0] for batches in places], columns, spool)
        for number, path in enumerate(shards, 1):
            with _open_joined(path, params, kind) as take:
                for writer, batches in zip(writers, places, strict=True):
                    writer.append(batches[number], path.parent.name, take)


@dataclass(frozen=True)
class _SplitWriter:
    name: Split
    columns: Columns
    store: StoreWriter
    kind: RowKind
    bar: Progress

    def append(self, places: Int64[np.ndarray, " image"], batch: str, take: Take) -> None:
        """Append images of one batch, a block of rows at a time."""
        n_rows = rows_per_block(self.kind.n_bytes)
        for start in range(0, len(places), n_rows):
            some = places[start : start + n_rows]
            found = Prepared.unpack(self.kind, take(self.columns.position[some]))
            ids = self.columns.image_ids(some)
            self.store.append(found.inputs, ids, np.full(len(some), batch, "S14"), found.pictures)
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
def _open_joined(path: Path, params: PreprocessParams, kind: RowKind) -> Iterator[Take]:
    transform = ImageTransform.for_model(params, kind.spec.shape) if kind.spec.kind == "pixels" else None
    with ImageStore(path, transform) as shard:
        if transform is None:
            _require_features(shard, kind)

        def take(positions: Int64[np.ndarray, " image"]) -> Shaped[np.ndarray, "image ..."]:
            order = np.argsort(positions)
            rows = positions[order]
            pictures = None if kind.picture_shape is None else _fitted(shard.take_pictures(rows), kind.picture_shape)
            found = Prepared(kind, shard.take(rows), pictures).pack()
            if transform is not None and found.shape[1:] != kind.spec.shape:
                raise DataError(
                    f"{path} must hold images that become {kind.spec.shape} (channels, height, width) like those of "
                    f"the source, got {found.shape[1:]}; remove the batch from the experiment"
                )
            images = np.empty_like(found)
            images[order] = found
            return images

        yield take


def _require_features(shard: ImageStore, kind: RowKind) -> None:
    if shard.is_encoded or shard.spec != kind.spec:
        found = "images" if shard.is_encoded else str(shard.spec)
        raise DataError(
            f"{shard.path} must hold {kind.spec} like the source, got {found}; remove the batch from the "
            "experiment, or put back what made its features"
        )


def _fitted(pictures: Pictures, shape: Shape) -> Transformed:
    """Return the pictures of a batch at the size of today."""
    return ImageTransform((shape[1], shape[2]), "stretch", "grey" if shape[0] == 1 else "rgb").apply(pictures)
