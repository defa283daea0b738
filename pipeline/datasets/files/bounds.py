"""What a file of other people may ask for at most, so that a small one neither fills the memory nor runs for days.

The bounds are on bytes and images, not on how well a file is packed: blank images pack a thousand to one.
docs/inputs.md lists them.
"""

import errno
import os

from pipeline.core.errors import DataError
from pipeline.datasets.files.location import ByteFile

IMAGE_BYTES = 2**28
"""One image in an array, as its numbers; larger ones are copied too often on their way."""

FILE_BYTES = 2**31
"""The file of one image, whatever ``max_pixels`` is."""

_PIXEL_BYTES = 8  # of the widest kind read: colour and transparency with 16 bits
_METADATA_BYTES = 2**24

_ANY_FILE_IMAGES = 2**20
_MOST_IMAGES = 20_000_000  # a hundred bytes each are kept in memory

_UNPACKED_BYTES, _UNPACKED_TIMES = 2**34, 1000
_UNWRITTEN_BYTES = 2**30

_MOST_EXTENTS = 10_000


def most_file_bytes(max_pixels: int) -> int:
    """Return how long the file of one image may be: its pixels unpacked, and room for metadata."""
    return min(FILE_BYTES, _PIXEL_BYTES * max_pixels + _METADATA_BYTES)


def most_seconds(max_pixels: int) -> int:
    """Return for how long a processor may work at the file of one image; a good one takes a tenth of it at most."""
    return 10 + max_pixels // 10**6


def require_file_size(n_bytes: int, max_pixels: int) -> None:
    """Check the length of one image's file.

    Raises:
        DataError: with the reason alone, to be put behind the file's name.
    """
    most = most_file_bytes(max_pixels)
    if n_bytes > most:
        raise DataError(
            f"has {n_bytes} bytes, more than the {most} that an image of max_pixels = {max_pixels} needs; "
            "make it smaller or raise preprocess.max_pixels"
        )


def require_count(name: str, n_images: int, n_bytes: int) -> None:
    """Check how many images a file claims against its length.

    Args:
        name: of the file or array.
        n_images: that it claims.
        n_bytes: that it takes on the disk.

    Raises:
        DataError: nobody stores so many in so little, or they are too many for one file.
    """
    most = min(_MOST_IMAGES, max(_ANY_FILE_IMAGES, n_bytes))
    if n_images > most:
        raise DataError(
            f"{name} must hold at most {most} images in its {n_bytes} bytes, got {n_images}; "
            "split it into several files, or write it again if it does not hold so many"
        )


def require_unpacked(name: str, n_unpacked: int, n_bytes: int) -> None:
    """Check to how many bytes of numbers or pixels a packed file grows.

    Raises:
        DataError: to more than 16 GiB and than a thousand times the file.
    """
    most = max(_UNPACKED_BYTES, _UNPACKED_TIMES * n_bytes)
    if n_unpacked > most:
        raise DataError(
            f"{name} must unpack to at most {most} bytes from a file of {n_bytes}, got {n_unpacked}; "
            "split it into several files"
        )


def require_written(name: str, n_written: int, n_declared: int) -> None:
    """Check how much of an array was ever written.

    Raises:
        DataError: more than 1 GiB was not, and more than what was.
    """
    if n_declared - n_written > max(_UNWRITTEN_BYTES, n_written):
        raise DataError(
            f"{name} must have been written, got {n_written} bytes of the {n_declared} that it declares; "
            "cut it to the part that holds images"
        )


def stored_bytes(file: ByteFile, n_bytes: int) -> int:
    """Return how many of a file's bytes lie on the disk and are no hole; all, where the system cannot tell.

    Args:
        file: open at any position, which it keeps.
        n_bytes: its length.
    """
    fileno = getattr(file, "fileno", None)
    if fileno is None or not hasattr(os, "SEEK_DATA"):
        return n_bytes
    try:
        descriptor = fileno()
        place = os.lseek(descriptor, 0, os.SEEK_CUR)
    except OSError:  # behind a URL
        return n_bytes
    try:
        return _bytes_in_extents(descriptor)
    except OSError:  # no file system that knows of holes
        return n_bytes
    finally:
        os.lseek(descriptor, place, os.SEEK_SET)


def _bytes_in_extents(descriptor: int) -> int:
    total = stop = 0
    for _ in range(_MOST_EXTENTS):
        try:
            start = os.lseek(descriptor, stop, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break  # none behind
        stop = os.lseek(descriptor, start, os.SEEK_HOLE)
        total += stop - start
    return total
