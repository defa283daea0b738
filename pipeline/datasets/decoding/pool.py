"""Decoding files in several processes, in order, with a bounded number under way."""

import itertools
import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import BinaryIO, cast

from pipeline.core.errors import ResourceError
from pipeline.core.memory import out_of_memory
from pipeline.core.processors import n_processors
from pipeline.datasets.decoding.decoded_file import DecodedFile, unpack
from pipeline.datasets.decoding.worker import READY, TOO_LONG, DecodeJob, Item, decode_chunk
from pipeline.datasets.files.beneath import Root
from pipeline.datasets.files.bounds import most_seconds

_CHUNK, _CHUNK_BYTES = 64, 2**23  # files at most, and after about how many bytes no more
_CHUNKS_AHEAD = 2  # for each process
_LOOKED_AT = 4  # of so many files in a folder one, which stands for those that follow it

_LIGHT_BYTES = 2**20
"""Files of no more bytes together cannot keep a decoder for long, so no process need watch over them."""

_Pending = tuple[list[Item], Future[list[DecodedFile]]]


def decode_files(job: DecodeJob, items: Iterable[Item], workers: int) -> Iterator[list[DecodedFile]]:
    """Yield the outcomes of files in order, in lists of some dozens.

    A file that crashes the decoder or takes too long is refused like any other bad one. A few small files are decoded
    in this process, as starting others would take longer.

    Args:
        job: what is wanted of every file.
        items: paths below ``job.root``, or names with bytes; may be a stream.
        workers: processes; 0 means one a processor.

    Raises:
        ResourceError: processes cannot be started or there is too little memory.
    """
    chunks = _chunked(items, job.root)
    first = list(itertools.islice(chunks, 2))
    if not first:
        return
    is_single = len(first) == 1
    if is_single and sum(_n_bytes(item, job.root) for item in first[0]) <= _LIGHT_BYTES:
        yield from _decode_here(job, first[0])
        return
    workers = 1 if is_single else workers or n_processors()
    pool = _Pool(workers)
    try:
        pending: deque[_Pending] = deque()
        for chunk in itertools.chain(first, chunks):
            pending.append((chunk, pool.submit(job, chunk)))
            while len(pending) >= workers * _CHUNKS_AHEAD:
                yield _next_outcomes(pool, job, pending)
        while pending:
            yield _next_outcomes(pool, job, pending)
    finally:
        pool.close()


def _chunked(items: Iterable[Item], root: Root | None) -> Iterator[list[Item]]:
    chunk: list[Item] = []
    n_bytes = size = 0
    for place, item in enumerate(items):
        chunk.append(item)
        if item[1] is not None or place % _LOOKED_AT == 0:
            size = _n_bytes(item, root)
        n_bytes += size
        if len(chunk) == _CHUNK or n_bytes >= _CHUNK_BYTES:
            yield chunk
            chunk, n_bytes = [], 0
    if chunk:
        yield chunk


def _n_bytes(item: Item, root: Root | None) -> int:
    name, data = item
    if data is not None or root is None:
        return len(data) if isinstance(data, bytes) else 0
    try:
        return os.stat(f"{root.path}/{name}").st_size  # noqa: PTH116 - a Path takes longer than the call
    except OSError:  # decoding it says why
        return 0


def _decode_here(job: DecodeJob, chunk: list[Item]) -> Iterator[list[DecodedFile]]:
    while chunk:
        outcomes = decode_chunk(job, chunk)
        yield outcomes
        chunk = chunk[len(outcomes) :]


def _next_outcomes(pool: "_Pool", job: DecodeJob, pending: "deque[_Pending]") -> list[DecodedFile]:
    """Wait for the first chunk; what a process has left of it comes next."""
    chunk, future = pending.popleft()
    outcomes = future.result()
    if len(outcomes) < len(chunk):
        rest = chunk[len(outcomes) :]
        pending.appendleft((rest, pool.submit(job, rest)))
    return outcomes


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


_DIED = (EOFError, BrokenPipeError, pickle.UnpicklingError)


def _took_too_long(job: DecodeJob, item: Item) -> DecodedFile:
    seconds = most_seconds(job.max_pixels)
    return DecodedFile(item[0], f"takes more than {seconds} s to decode; save it anew with another program")


class _Process:
    def __init__(self) -> None:
        self._stopped = False
        self._start()

    def decode(self, job: DecodeJob, chunk: list[Item]) -> list[DecodedFile]:
        """Return the outcomes of a chunk, or of its first files."""
        try:
            return self._ask(job, chunk)
        except _DIED:
            if self._stopped:
                return []
        place, code = self._place(), self._replace()
        # Whatever else ended it may have come from outside.
        culprit = _took_too_long(job, chunk[place]) if code == -TOO_LONG else self._decode_alone(job, chunk[place])
        outcomes = self.decode(job, chunk[:place]) if place else []
        return [*outcomes, culprit] if len(outcomes) == place else outcomes

    def _decode_alone(self, job: DecodeJob, item: Item) -> DecodedFile:
        try:
            return self._ask(job, [item])[0]
        except _DIED:
            code = 0 if self._stopped else self._replace()
        if code == -TOO_LONG:
            return _took_too_long(job, item)
        if code == -signal.SIGKILL:  # it comes from the system, never from a decoder
            raise out_of_memory(f"decoding {item[0]!r}, at which the system killed two processes,")
        return DecodedFile(item[0], "crashes the decoder; save it anew with another program")

    def _place(self) -> int:
        """Return which file of the chunk the process was at."""
        return (os.pread(self._progress.fileno(), 1, 0) or b"\0")[0]

    def _replace(self) -> int:
        """Replace a process that died, and return its exit status."""
        code = self._process.wait()
        self.end()
        self._start()
        return code

    def stop(self) -> None:
        """End the process while another thread may wait for its answer."""
        self._stopped = True
        self._process.kill()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._questions, self._answers, self._progress):
            with suppress(OSError):  # what was still buffered goes nowhere
                pipe.close()

    def _ask(self, job: DecodeJob, chunk: list[Item]) -> list[DecodedFile]:
        if not self._is_ready and self._answers.read(len(READY)) != READY and not self._stopped:
            raise ResourceError(
                "decoding needs processes of its own, but none could be started (see above); "
                "run `python -c 'import pipeline.datasets.decoding.worker'` to see why"
            )
        self._is_ready = True
        pickle.dump((job, chunk, self._progress.fileno()), self._questions, protocol=5)
        self._questions.flush()
        answer = pickle.load(self._answers)  # noqa: S301 - written by our own process
        if isinstance(answer, ResourceError):
            raise answer
        return unpack(answer)

    def _start(self) -> None:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-c", "from pipeline.datasets.decoding.worker import serve; serve()"]
        self._progress = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - until the process ends
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            pass_fds=[self._progress.fileno()],
        )
        self._questions = cast(BinaryIO, self._process.stdin)
        self._answers = cast(BinaryIO, self._process.stdout)
        self._is_ready = False
