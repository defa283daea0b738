"""Decoding files in several processes, in order, with a bounded number under way."""

import itertools
import os
import pickle
import queue
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import BinaryIO, cast

from pipeline.datasets.decode_worker import READY, DecodeJob, Item, decode_chunk
from pipeline.datasets.decoded_file import DecodedFile, unpack
from pipeline.errors import ResourceError

_CHUNK = 64  # files
_CHUNKS_AHEAD = 2  # for each process


def decode_files(job: DecodeJob, items: Iterable[Item], workers: int) -> Iterator[list[DecodedFile]]:
    """Yield the outcomes of files in order, in lists of some dozens.

    A file that crashes the decoder is refused like any other bad one. A single chunk is decoded in this process, as
    starting others would take longer.

    Args:
        job: what is wanted of every file.
        items: paths below ``job.root``, or names with bytes; may be a stream.
        workers: processes; 0 means one a processor.
    """
    chunks = _chunked(items)
    first = list(itertools.islice(chunks, 2))
    if len(first) < 2:
        yield from (decode_chunk(job, chunk) for chunk in first)
        return
    workers = workers or _n_processors()
    pool = _Pool(workers)
    try:
        pending: deque[Future[list[DecodedFile]]] = deque()
        for chunk in itertools.chain(first, chunks):
            pending.append(pool.submit(job, chunk))
            if len(pending) >= workers * _CHUNKS_AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.close()


def _chunked(items: Iterable[Item]) -> Iterator[list[Item]]:
    stream = iter(items)
    while chunk := list(itertools.islice(stream, _CHUNK)):
        yield chunk


def _n_processors() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


class _Pool:
    """Threads that each talk to a process of their own.

    Not multiprocessing: that would run the caller's main module again in every process, with all it imports, and a
    crash would break the whole pool.
    """

    def __init__(self, workers: int) -> None:
        self._processes = [_Process() for _ in range(workers)]
        self._idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()
        for process in self._processes:
            self._idle.put(process)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="decode")

    def submit(self, job: DecodeJob, chunk: list[Item]) -> "Future[list[DecodedFile]]":
        return self._threads.submit(self._run, job, chunk)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in self._processes:
            process.stop()
        self._threads.shutdown()
        for process in self._processes:
            process.end()

    def _run(self, job: DecodeJob, chunk: list[Item]) -> list[DecodedFile]:
        process = self._idle.get()
        try:
            return process.decode(job, chunk)
        finally:
            self._idle.put(process)


class _Process:
    def __init__(self) -> None:
        self._stopped = False
        self._start()

    def decode(self, job: DecodeJob, chunk: list[Item]) -> list[DecodedFile]:
        try:
            return self._ask(job, chunk)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError):
            if self._stopped:
                return []
        self.end()
        self._start()
        if len(chunk) == 1:
            return [DecodedFile(chunk[0][0], "crashes the decoder; save it anew with another program")]
        return [outcome for item in chunk for outcome in self.decode(job, [item])]

    def stop(self) -> None:
        """End the process while another thread may wait for its answer."""
        self._stopped = True
        self._process.kill()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._questions, self._answers):
            with suppress(OSError):  # what was still buffered goes nowhere
                pipe.close()

    def _ask(self, job: DecodeJob, chunk: list[Item]) -> list[DecodedFile]:
        if not self._is_ready and self._answers.read(len(READY)) != READY and not self._stopped:
            raise ResourceError(
                "decoding needs processes of its own, but none could be started (see above); "
                "run `python -c 'import pipeline.datasets.decode_worker'` to see why"
            )
        self._is_ready = True
        pickle.dump((job, chunk), self._questions, protocol=5)
        self._questions.flush()
        return unpack(pickle.load(self._answers))  # noqa: S301 - written by our own process

    def _start(self) -> None:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-c", "from pipeline.datasets.decode_worker import serve; serve()"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self._questions = cast(BinaryIO, self._process.stdin)
        self._answers = cast(BinaryIO, self._process.stdout)
        self._is_ready = False
