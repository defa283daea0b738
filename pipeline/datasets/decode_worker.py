"""Reading, checking, decoding and hashing files in chunks: the work of one decoding process.

It imports little, so that such a process starts quickly.
"""

import errno
import io
import os
import pickle
import stat
import sys
from dataclasses import dataclass

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

    root: str | None
    max_pixels: int
    transform: ImageTransform | None
    pixel_bytes: int | None
    with_encoded: bool


SPECIAL = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
"""What to call entries of a folder that are no files, by their kind."""

READY = b"+"
"""What a process writes once it has started."""

Item = tuple[str, bytes | None]
"""A file's path below the root, or a name and its bytes."""


def decode_chunk(job: DecodeJob, items: list[Item]) -> list[DecodedFile]:
    """Decode files one after the other; a refused file yields its reason and stops nothing."""
    real_root = None if job.root is None else os.path.realpath(job.root)
    with without_warnings():
        return [_decode_one(job, real_root, *item) for item in items]


def read_regular(root: str, name: str, max_pixels: int, real_root: str | None = None) -> bytes:
    """Return the bytes of a regular file below ``root``.

    Raises:
        DataError: a reason: it is something else, leads out of the folder, is empty, or its header asks for too much.
    """
    try:
        with _open_regular(root, name, real_root) as file:
            if os.fstat(file.fileno()).st_size > _LOOK_BEFORE_READING:
                open_header(file, max_pixels)
                file.seek(0)
            return file.read()
    except FileNotFoundError:
        raise DataError("leads nowhere or vanished while it was read; deliver it again") from None
    except OSError as error:
        raise DataError(
            f"cannot be read ({error.strerror or error}); mend its permissions or deliver it again"
        ) from None


def _decode_one(job: DecodeJob, real_root: str | None, name: str, data: bytes | None) -> DecodedFile:
    try:
        if data is None:
            data = read_regular(job.root or "", name, job.max_pixels, real_root)
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


def _open_regular(root: str, name: str, real_root: str | None) -> io.FileIO:
    path = f"{root}/{name}"
    # Without O_NONBLOCK a FIFO put in a file's place would block for ever.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        real_root, target = real_root or os.path.realpath(root), os.path.realpath(path)
        if os.path.commonpath([real_root, target]) != real_root:
            raise DataError("is a link that leads out of the folder; copy the file instead") from None
        descriptor = os.open(target, flags | os.O_NOFOLLOW)
    file = io.FileIO(descriptor)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        file.close()
        raise DataError(f"is {SPECIAL.get(stat.S_IFMT(mode), 'special')}, no file; remove it")
    return file


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
