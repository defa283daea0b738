"""Reading, checking, decoding and hashing files in chunks: the work of one decoding process.

It imports little, so that such a process starts quickly.
"""

import io
import os
import pickle
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped

from pipeline.core.errors import DataError, ResourceError
from pipeline.core.memory import has_room, keep_freed_memory, out_of_memory
from pipeline.datasets.decoding.bit_depth import eight_bits, has_16_bits
from pipeline.datasets.decoding.decode import decode_samples, encode_png, open_header, without_warnings
from pipeline.datasets.decoding.decoded_file import DecodedFile, Parcel, pack
from pipeline.datasets.decoding.kinds import START_BYTES, foreign_kind
from pipeline.datasets.decoding.transform import ImageTransform
from pipeline.datasets.files.beneath import Beneath, Root, cannot_be_read
from pipeline.datasets.files.bounds import most_seconds, require_file_size
from pipeline.datasets.store.identity import hash_image

_LOOK_BEFORE_READING = 32 * 2**20
"""Files above so many bytes have their header checked before they are read."""

_KEPT_MEMORY = 32 << 20  # bytes

_MOST_AT_ONCE = 2**24
"""After outcomes of so many bytes a chunk is interrupted: small files may hold many pixels."""

_ROOM_PER_PIXEL = 24  # bytes that reading, decoding and scaling take together


@dataclass(frozen=True)
class DecodeJob:
    """What is wanted of every file.

    Attributes:
        root: folder of the files; no link may lead out of it. None where the bytes are given.
        max_pixels: larger images are refused.
        transform: applied after hashing; None keeps the source's size.
        pixel_bytes: images of more bytes come back without pixels; None sends all.
        with_encoded: send the file's bytes back too; a PNG of 8 bits where ``brightest`` made them from 16, so that
            nobody who decodes it later needs to know.
        brightest: of 16-bit images, as in ``preprocess``.
    """

    root: Root | None
    max_pixels: int
    transform: ImageTransform | None
    pixel_bytes: int | None
    with_encoded: bool
    brightest: int | None = None


TOO_LONG = signal.SIGPROF
"""What ends a process that works at one file for too long; no decoder comes to an end by itself."""

READY = b"+"
"""What a process writes once it has started."""

Item = tuple[str, bytes | DataError | None]
"""A file's path below the root; or a name and the file's bytes, or why it has none that can be used."""


def decode_chunk(
    job: DecodeJob, items: list[Item], begin: Callable[[int], None] = lambda place: None
) -> list[DecodedFile]:
    """Decode files one after the other; a refused file yields its reason and stops nothing.

    Args:
        job: what is wanted of every file.
        items: the files.
        begin: told the place of each file before it is looked at.

    Returns:
        The outcomes of at least one file; of fewer than all where they take much room.

    Raises:
        ResourceError: there is too little memory for a file of ordinary demands.
    """
    with without_warnings():
        if job.root is None:
            return _decode_some(job, None, items, begin)
        try:
            with Beneath(job.root) as folder:
                return _decode_some(job, folder, items, begin)
        except OSError as error:
            reason = cannot_be_read(error)
        except DataError as error:
            reason = str(error)
        return [DecodedFile(name, reason) for name, _ in items]


def read_regular(folder: Beneath, name: str, max_pixels: int) -> bytes:
    """Return the bytes of a regular file below a folder.

    Raises:
        DataError: a reason: it is something else, leads out of the folder, is empty, or its header asks for too much.
    """
    try:
        with io.FileIO(folder.open(name)) as file:
            n_bytes = os.fstat(file.fileno()).st_size
            try:
                require_file_size(n_bytes, max_pixels)
            except DataError as error:  # of a large archive, its kind says more than its size
                raise DataError(foreign_kind(file.read(START_BYTES)) or str(error)) from None
            if n_bytes > _LOOK_BEFORE_READING:
                open_header(file, max_pixels)
                file.seek(0)
            return file.read()
    except OSError as error:
        raise DataError(cannot_be_read(error)) from None


def _decode_some(
    job: DecodeJob, folder: Beneath | None, items: list[Item], begin: Callable[[int], None]
) -> list[DecodedFile]:
    outcomes: list[DecodedFile] = []
    n_bytes = 0
    for place, item in enumerate(items):
        begin(place)
        outcome = _decode_one(job, folder, *item)
        outcomes.append(outcome)
        n_bytes += len(outcome.encoded or b"") + (0 if outcome.pixels is None else outcome.pixels.nbytes)
        if n_bytes >= _MOST_AT_ONCE:
            break
    return outcomes


def prepare_samples(
    job: DecodeJob,
    name: str,
    samples: Shaped[np.ndarray, "channel height width"],
    data: bytes | None = None,
    is_transparent: bool = False,
) -> DecodedFile:
    """Return the outcome of an image whose samples are known: the same as of a file that holds them.

    Args:
        job: what is wanted.
        name: of the image.
        samples: of 8 or 16 bits.
        data: bytes of its file, where they are wanted.
        is_transparent: whether its file has pixels that are not opaque.

    Raises:
        DataError: the reason why the job's transform does not take it.
    """
    pixels, peak = samples, -1
    if has_16_bits(pixels):
        peak = int(pixels.max())
        pixels = eight_bits(pixels, job.brightest)
        if job.brightest is not None and job.with_encoded:
            data = encode_png(pixels)
    content = hash_image(pixels)
    n_channels, height, width = pixels.shape
    wanted = pixels if job.transform is None else job.transform.apply(pixels[None])[0]
    too_large = job.pixel_bytes is not None and wanted.nbytes > job.pixel_bytes
    return DecodedFile(
        name,
        None,
        content,
        (n_channels, height, width),
        None if too_large else wanted,
        data if job.with_encoded else None,
        peak,
        is_transparent,
    )


def _decode_one(job: DecodeJob, folder: Beneath | None, name: str, data: bytes | DataError | None) -> DecodedFile:
    try:
        if isinstance(data, DataError):
            raise data
        if data is None:
            assert folder is not None
            data = read_regular(folder, name, job.max_pixels)
        samples, is_transparent = decode_samples(data, job.max_pixels)
        return prepare_samples(job, name, samples, data, is_transparent)
    except DataError as error:
        return DecodedFile(name, str(error))
    except MemoryError:
        if not has_room(_ROOM_PER_PIXEL * job.max_pixels):
            raise out_of_memory(f"decoding {name!r}") from None
        return DecodedFile(name, "asks for far more memory than its pixels need; save it anew with another program")


def serve() -> None:
    """Answer pickled chunks on standard input with pickled outcomes on standard output, until the input ends.

    Only :mod:`pipeline.datasets.decoding.pool` speaks to it.
    """
    keep_freed_memory(_KEPT_MEMORY)
    signal.signal(TOO_LONG, signal.SIG_DFL)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not get between the answers
    questions = sys.stdin.buffer
    answers.write(READY)
    answers.flush()
    while True:
        try:
            job, items, descriptor = pickle.load(questions)  # noqa: S301 - written by the parent process
        except EOFError:
            return
        pickle.dump(_answer(job, items, descriptor), answers, protocol=5)
        answers.flush()


def _answer(job: DecodeJob, items: list[Item], descriptor: int) -> Parcel | ResourceError:
    seconds = most_seconds(job.max_pixels)

    def begin(place: int) -> None:
        os.pwrite(descriptor, bytes([place]), 0)
        signal.setitimer(signal.ITIMER_PROF, seconds)  # of this process's work, whatever else the machine does

    try:
        return pack(decode_chunk(job, items, begin))
    except ResourceError as error:
        return error
    except MemoryError as error:
        return out_of_memory("decoding", error)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
