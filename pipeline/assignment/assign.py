"""From images to assignment files: read, encode, responsibilities, Arrow, Parquet, as overlapping steps."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Shaped, UInt8

from pipeline.config.sections import AssignParams
from pipeline.datasets import ImageStore
from pipeline.datasets.transform import ImageTransform
from pipeline.model import FrozenModel, load_model
from pipeline.records import FacetAssignment
from pipeline.tables.build import AssignmentWriter, write_assignments

Block = tuple[Shaped[np.ndarray, " image"], UInt8[np.ndarray, "image channel height width"]]
Advance = Callable[[int], None]


@dataclass(frozen=True)
class Shard:
    """One file's worth of work: the rows of one batch in one store, and where their assignments go.

    Attributes:
        store: HDF5 file of images.
        transform: from stored to model size; ``None`` where the store is prepared.
        batch_id: whose rows.
        runs: ranges of rows of that batch.
        folder: to write.
    """

    store: Path
    transform: ImageTransform | None
    batch_id: str
    runs: tuple[tuple[int, int], ...]
    folder: Path

    @property
    def n_images(self) -> int:
        """How many images it holds."""
        return sum(stop - start for start, stop in self.runs)


def shards_of_store(path: Path, folder: Path) -> list[Shard]:
    """Return one shard a batch of a prepared split, to be written below ``folder``.

    Raises:
        DataError: the store is missing or damaged.
    """
    with ImageStore(path) as store:
        batch_ids = store.batch_ids()
    edges = [0, *(np.flatnonzero(batch_ids[1:] != batch_ids[:-1]) + 1).tolist(), len(batch_ids)]
    runs: dict[str, list[tuple[int, int]]] = {}
    for start, stop in pairwise(edges):
        runs.setdefault(str(batch_ids[start]), []).append((start, stop))
    return [Shard(path, None, batch_id, tuple(of_batch), folder / batch_id) for batch_id, of_batch in runs.items()]


def assign_shards(
    shards: Sequence[Shard], model_folder: Path, params: AssignParams, executor: Executor | None, advance: Advance
) -> None:
    """Assign every shard with the selected model of a model folder; one file a facet and shard, each whole or absent.

    Args:
        shards: the work.
        model_folder: output of stage train, or its published copy.
        params: the assign section.
        executor: runs shards elsewhere (processes, a cluster); ``None`` works here, one shard after another.
        advance: is told how many images are done.

    Raises:
        DataError: a store is damaged.
        ModelError: the model folder is.
    """
    if executor is None:
        for shard in shards:
            assign_shard(shard, model_folder, params, advance)
        return
    futures = [executor.submit(assign_shard, shard, model_folder, params, _ignore) for shard in shards]
    for shard, future in zip(shards, futures, strict=True):
        future.result()
        advance(shard.n_images)


def assign_shard(shard: Shard, model_folder: Path, params: AssignParams, advance: Advance) -> None:
    """Assign one shard (see :func:`assign_shards`)."""
    model = _cached_model(model_folder, (model_folder / "model.json").stat().st_mtime_ns)
    with (
        ImageStore(shard.store, shard.transform) as store,
        write_assignments(
            shard.folder,
            batch_id=shard.batch_id,
            model_version=model.model_version,
            n_facets=model.n_facets,
            responsibilities=params.responsibilities,
        ) as writer,
    ):
        _pump(_blocks(store, shard, params.batch_size), model, params, writer, advance)


def _pump(
    blocks: Iterator[Block], model: FrozenModel, params: AssignParams, writer: AssignmentWriter, advance: Advance
) -> None:
    """Assign block after block, while a thread reads the next one and another writes the last one."""
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as scribe:
        written: Future[None] | None = None
        coming = reader.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = reader.submit(next, blocks, None)
            image_ids, images = block
            facets = assign_images(model, images, params)
            if written is not None:
                written.result()
            written = scribe.submit(writer.write, image_ids, facets)
            advance(len(image_ids))
        if written is not None:
            written.result()


def assign_images(
    model: FrozenModel, images: UInt8[np.ndarray, "image channel height width"], params: AssignParams
) -> list[FacetAssignment]:
    """Assign one block of images at model size."""
    return model.assign(torch.from_numpy(images), params.assigner, params.responsibilities)


def _blocks(store: ImageStore, shard: Shard, batch_size: int) -> Iterator[Block]:
    for start, stop in shard.runs:
        for begin in range(start, stop, batch_size):
            end = min(begin + batch_size, stop)
            yield store.image_ids(begin, end), store.read(begin, end)


@lru_cache(maxsize=2)
def _cached_model(folder: Path, _modified: int) -> FrozenModel:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return load_model(folder).to(device)


def _ignore(_n_images: int) -> None:
    pass
