"""Where shards are assigned: in this process, in processes of this machine, or on a Dask cluster."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from pipeline.core.errors import ResourceError
from pipeline.core.extras import how_to_install
from pipeline.core.processors import n_processors

_WORTH_PROCESSES = 200_000
"""Images below which starting processes, seconds each, costs more than they save: threads share one shard as well."""

_CONNECT_SECONDS = 30


@contextmanager
def open_executor(cluster: str | None, n_shards: int, n_images: int) -> Iterator[Executor | None]:
    """Yield what runs shards side by side; None where this process does so best.

    Args:
        cluster: address of a Dask scheduler, such as ``tcp://10.0.0.5:8786``; None means this machine.
        n_shards: how many there are.
        n_images: that they hold together.

    Raises:
        ResourceError: no scheduler at that address, workers that keep dying, or Dask is not installed.
    """
    if cluster is not None:
        with _dask(cluster) as executor:
            yield executor
    elif n_shards < 2 or n_images < _WORTH_PROCESSES:
        yield None
    else:
        with _processes(min(n_shards, n_processors())) as executor:
            yield executor


@contextmanager
def _processes(n_workers: int) -> Iterator[Executor]:
    # Not forked: the parent has threads, and CUDA does not survive a fork.
    pool = ProcessPoolExecutor(n_workers, multiprocessing.get_context("spawn"))
    try:
        yield pool
    except BrokenProcessPool as error:
        raise ResourceError(
            f"the {n_workers} processes that assign must live until they are done, but one was ended, perhaps for want "
            "of memory; finished batches are kept, run the command again"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _dask(address: str) -> Iterator[Executor]:
    try:
        from distributed import Client, KilledWorker
    except ImportError as error:
        raise ResourceError(
            "publish.cluster needs the packages of the extra dask, which are not installed; "
            f"{how_to_install('dask')}, or set it to null"
        ) from error
    try:
        client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ResourceError(
            f"publish.cluster must be the address of a running Dask scheduler, but {address} does not answer "
            f"({error}); start it, correct the address, or set it to null"
        ) from error
    with client:
        try:
            # A shard that lost its worker goes to another one; one that takes worker after worker with it is a fault.
            yield client.get_executor(pure=False)
        except KilledWorker as error:
            raise ResourceError(
                f"the workers of {address} must survive a shard, but several died over one: {error}; give them more "
                "memory, finished batches are kept"
            ) from error
