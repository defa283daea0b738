"""From images to assignment files: read, encode, responsibilities, Arrow, Parquet, as overlapping steps."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Shaped

from pipeline.config.sections import AssignParams
from pipeline.core.processors import n_processors
from pipeline.core.records import FacetAssignment
from pipeline.datasets.store.images import ImageStore, Transform
from pipeline.model import FrozenModel, load_model
from pipeline.model.precision import best_device, multiplies_bfloat16
from pipeline.table_format.build import AssignmentWriter, write_assignments

Advance = Callable[[int], None]
Assigned = tuple[Shaped[np.ndarray, " image"], list[FacetAssignment]]

_MOST_WAITING = 1000
"""Shards handed to an executor at once: enough for any cluster, little for its scheduler to remember."""


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
    transform: Transform | None
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

    A worker that is lost costs the shards that it was at, as each is written in one piece.

    Args:
        shards: the work.
        model_folder: output of stage train, or its published copy.
        params: the assign section.
        executor: runs shards elsewhere (processes, a cluster); ``None`` works here, one shard after another, on all
            processors.
        advance: is told how many images are done.

    Raises:
        DataError: a store is damaged.
        ModelError: the model folder is.
    """
    if executor is None:
        for shard in shards:
            _assign_shard(shard, model_folder, params, advance, n_processors())
        return
    coming = iter(shards)
    running: dict[Future[None], Shard] = {}
    while True:
        while len(running) < _MOST_WAITING and (shard := next(coming, None)) is not None:
            running[executor.submit(assign_shard, shard, model_folder, params)] = shard
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            advance(running.pop(future).n_images)
            future.result()


def assign_shard(shard: Shard, model_folder: Path, params: AssignParams) -> None:
    """Assign one shard as one of many, on one processor (see :func:`assign_shards`)."""
    _assign_shard(shard, model_folder, params, _ignore, 1)


def _assign_shard(shard: Shard, model_folder: Path, params: AssignParams, advance: Advance, n_workers: int) -> None:
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

        def assign(start: int, stop: int) -> Assigned:
            images = torch.from_numpy(store.read(start, stop))
            return store.image_ids(start, stop), model.assign(images, params.assigner, params.responsibilities)

        _pump(assign, _blocks(shard, params.batch_size), writer, advance, n_workers)


def _pump(
    assign: Callable[[int, int], Assigned],
    blocks: Iterator[tuple[int, int]],
    writer: AssignmentWriter,
    advance: Advance,
    n_workers: int,
) -> None:
    """Assign blocks side by side, each on one processor, and write them in order while the next ones are at work.

    Whole blocks side by side beat shared products: no thread waits for the slowest part of every product, and the
    numbers do not depend on how many processors there are. What is in memory is bounded by a few blocks a worker.
    """
    with _one_thread_each(), ThreadPoolExecutor(n_workers) as workers, ThreadPoolExecutor(1) as scribe:
        ahead: deque[Future[Assigned]] = deque()
        written: deque[Future[None]] = deque()

        def hand_over() -> None:
            image_ids, facets = ahead.popleft().result()
            if len(written) > n_workers:
                written.popleft().result()
            written.append(scribe.submit(writer.write, image_ids, facets))
            advance(len(image_ids))

        for start, stop in blocks:
            ahead.append(workers.submit(assign, start, stop))
            if len(ahead) > 2 * n_workers:
                hand_over()
        while ahead:
            hand_over()
        for done in written:
            done.result()


def _blocks(shard: Shard, batch_size: int) -> Iterator[tuple[int, int]]:
    for start, stop in shard.runs:
        for begin in range(start, stop, batch_size):
            yield begin, min(begin + batch_size, stop)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


@lru_cache(maxsize=2)
def _cached_model(folder: Path, _modified: int) -> FrozenModel:
    device = best_device()
    precision = torch.bfloat16 if multiplies_bfloat16(device) else torch.float32
    return load_model(folder, precision=precision).to(device)


def _ignore(_n_images: int) -> None:
    pass
