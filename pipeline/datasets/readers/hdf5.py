"""HDF5 files of other people: opened with care, every fault in plain words."""

import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from pipeline.core.errors import DataError
from pipeline.core.text import reason_of
from pipeline.datasets.files.bounds import require_unpacked, require_written

_MOST_CHUNK = 256 * 2**20
"""HDF5 decompresses whole chunks, so a chunk of more bytes is refused."""

_MOST_CHUNKS_OF_AN_IMAGE = 4096
_ANY_DATASET_CHUNKS, _CHUNKS_PER_IMAGE = 2**20, 16
"""Some 30,000 chunks are read in a second, however small they are."""

_DEFLATE = 1  # its number among the filters
_DEFLATED_TIMES = 1032  # to so many times its length a deflated stream unpacks at most
_ROOM = 64  # bytes that a checksum may add to a chunk
_PIECE = 2**20


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading; whatever HDF5 stumbles over inside the context becomes a clear error too.

    Raises:
        DataError: the file is missing, no HDF5 or damaged.
    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except FileNotFoundError:
        raise DataError(f"{path} is missing; put the file there or correct preprocess.path") from None
    except IsADirectoryError:
        raise DataError(f"{path} must be an HDF5 file, got a folder; correct preprocess.path") from None
    # A damaged file makes h5py raise any of these, wherever the damage is met.
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, UnicodeError, zlib.error) as error:
        raise DataError(f"{path} must be a complete HDF5 file, but {reason_of(error)}; fetch the file again") from None


def require_dataset(file: h5py.File, name: str) -> Any:
    """Return a dataset of a file.

    Raises:
        DataError: there is none of that name; the message lists what is there. Or it is far larger than stored.
    """
    # file.get would take a damaged dataset for an absent one.
    found = file[name] if name in file else None  # noqa: SIM401
    if not isinstance(found, h5py.Dataset):
        raise DataError(f"{file.filename} must hold the dataset {name!r}, got {sorted(file)}; fetch the right file")
    require_bounded(found, f"{file.filename}:{name}", Path(file.filename).stat().st_size)
    return found


def require_bounded(dataset: Any, name: str, n_file_bytes: int) -> None:
    """Check that reading a dataset in parts takes memory for some chunks alone, and ends.

    Args:
        dataset: not read from yet.
        name: for messages.
        n_file_bytes: of the whole file on the disk.

    Raises:
        DataError: it was mostly never written, or has chunks that are or unpack too large.
    """
    declared = math.prod(dataset.shape) * dataset.dtype.itemsize
    if not dataset.chunks:
        require_written(name, min(dataset.id.get_storage_size(), n_file_bytes), declared)
        return
    chunk_bytes = math.prod(dataset.chunks) * dataset.dtype.itemsize
    if chunk_bytes > _MOST_CHUNK:
        raise DataError(
            f"{name} must have chunks of at most {_MOST_CHUNK} bytes, got {chunk_bytes}; rewrite it smaller"
        )
    n_chunks, most = dataset.id.get_num_chunks(), max(_ANY_DATASET_CHUNKS, _CHUNKS_PER_IMAGE * dataset.shape[0])
    if n_chunks > most or chunks_of_an_image(dataset) > _MOST_CHUNKS_OF_AN_IMAGE:
        raise DataError(
            f"{name} must have at most {most} chunks, and {_MOST_CHUNKS_OF_AN_IMAGE} an image, got {n_chunks}, and "
            f"{chunks_of_an_image(dataset)} an image; rewrite it with larger chunks"
        )
    filters = _filters(dataset)
    n_written = min(declared, n_chunks * chunk_bytes)
    require_written(name, n_written if filters else min(n_written, n_file_bytes), declared)
    require_unpacked(name, n_written, n_file_bytes)
    if filters.count(_DEFLATE) > 1:
        raise DataError(f"{name} must be deflated once, got a chain of filters {filters}; rewrite it with gzip alone")


def chunks_of_an_image(dataset: Any) -> int:
    """Return over how many chunks one image is spread; 1 for a dataset without chunks."""
    sides = zip(dataset.shape[1:], (dataset.chunks or dataset.shape)[1:], strict=True)
    return math.prod(-(-side // chunk) for side, chunk in sides)


def suspicious_chunks(dataset: Any) -> list[tuple[int, ...]]:
    """Return the places of the chunks that might unpack to far more than their size, in order.

    HDF5 takes all that a deflated stream yields, at once; see :func:`require_honest_chunk`.
    """
    filters = _filters(dataset)
    if _DEFLATE not in filters:
        return []
    skipped = 1 << filters.index(_DEFLATE)
    found: list[tuple[int, ...]] = []

    def look(chunk: Any) -> None:
        if not chunk.filter_mask & skipped and chunk.size * _DEFLATED_TIMES > _MOST_CHUNK:
            found.append(chunk.chunk_offset)

    dataset.id.chunk_iter(look)
    return sorted(found)


def require_honest_chunk(dataset: Any, name: str, offset: tuple[int, ...]) -> None:
    """Unpack a chunk in small parts to see that it is as long as it should be.

    Raises:
        DataError: it is longer.
    """
    chunk_bytes = math.prod(dataset.chunks) * dataset.dtype.itemsize
    _, data = dataset.id.read_direct_chunk(offset)
    if _inflates_beyond(data, chunk_bytes + _ROOM):
        raise DataError(f"{name} must have chunks of {chunk_bytes} bytes, got one that unpacks to more; write it again")


def _filters(dataset: Any) -> list[int]:
    plist = dataset.id.get_create_plist()
    return [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]


def _inflates_beyond(data: bytes, most: int) -> bool:
    inflater, n_bytes = zlib.decompressobj(), 0
    while not inflater.eof and n_bytes <= most:
        part = inflater.decompress(data, _PIECE)
        if not part:
            break  # cut: HDF5 says so
        n_bytes += len(part)
        data = inflater.unconsumed_tail
    return n_bytes > most
