"""Reading, checking, decoding and hashing files in chunks: the work of one decoding process.

It imports little, so that such a process starts quickly.
"""

import io
import os
import pickle
import sys
from dataclasses import dataclass

from pipeline.datasets.beneath import Beneath, Root, cannot_be_read
from pipeline.datasets.decode import decode_image, open_header, without_warnings
from pipeline.datasets.decoded_file import DecodedFile, pack
from pipeline.datasets.identity import hash_images
from pipeline.datasets.transform import ImageTransform
from pipeline.errors import DataError
from pipeline.memory import keep_freed_memory

_LOOK_BEFORE_READING = 32 * 2**20
"""Files above so many bytes have their header checked before they are read."""

_KEPT_MEMORY = 32 << 20  # bytes


@dataclass(frozen=True)
class DecodeJob:
    """What is wanted of every file.

    Attributes:
        root: folder of the files; no link may lead out of it. None where the bytes are given.
        max_pixels: larger images are refused.
        transform: applied after hashing; None keeps the source's size.
        pixel_bytes: images of more bytes come back without pixels; None sends all.
        with_encoded: send the file's bytes back too.
    """

    root: Root | None
    max_pixels: int
    transform: ImageTransform | None
    pixel_bytes: int | None
    with_encoded: bool


READY = b"+"
"""What a process writes once it has started."""

Item = tuple[str, bytes | None]
"""A file's path below the root, or a name and its bytes."""


def decode_chunk(job: DecodeJob, items: list[Item]) -> list[DecodedFile]:
    """Decode files one after the other; a refused file yields its reason and stops nothing."""
    with without_warnings():
        if job.root is None:
            return [_decode_one(job, None, *item) for item in items]
        try:
            with Beneath(job.root) as folder:
                return [_decode_one(job, folder, *item) for item in items]
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
            if os.fstat(file.fileno()).st_size > _LOOK_BEFORE_READING:
                open_header(file, max_pixels)
                file.seek(0)
            return file.read()
    except OSError as error:
        raise DataError(cannot_be_read(error)) from None


def _decode_one(job: DecodeJob, folder: Beneath | None, name: str, data: bytes | None) -> DecodedFile:
    try:
        if data is None:
            assert folder is not None
            data = read_regular(folder, name, job.max_pixels)
        pixels = decode_image(data, job.max_pixels)
        content = int(hash_images([pixels])[0])
        n_channels, height, width = pixels.shape
        wanted = pixels if job.transform is None else job.transform.apply(pixels[None])[0]
    except DataError as error:
        return DecodedFile(name, str(error))
    too_large = job.pixel_bytes is not None and wanted.nbytes > job.pixel_bytes
    return DecodedFile(
        name,
        None,
        content,
        (n_channels, height, width),
        None if too_large else wanted,
        data if job.with_encoded else None,
    )


def serve() -> None:
    """Answer pickled chunks on standard input with pickled outcomes on standard output, until the input ends.

    Only :mod:`pipeline.datasets.decode_pool` speaks to it.
    """
    keep_freed_memory(_KEPT_MEMORY)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not get between the answers
    questions = sys.stdin.buffer
    answers.write(READY)
    answers.flush()
    while True:
        try:
            job, items = pickle.load(questions)  # noqa: S301 - written by the parent process
        except EOFError:
            return
        pickle.dump(pack(decode_chunk(job, items)), answers, protocol=5)
        answers.flush()
