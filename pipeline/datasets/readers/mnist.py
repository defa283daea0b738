"""The four IDX files of MNIST (and of data sets in the same files): checked first, then read."""

import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, UInt8

from pipeline.config.sections import PreprocessParams
from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.datasets.files.download import RemoteFile, download
from pipeline.datasets.readers.base import FileList
from pipeline.datasets.readers.block import Block, rows_per_block
from pipeline.datasets.store.spec import Split

_SPLITS: dict[Split, str] = {"train": "train", "test": "t10k"}
_IMAGES, _LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"
_UNSIGNED_BYTE = 8
_READ_BYTES = 2**20
_AGAIN = "fetch the file again, or remove it to have it downloaded"


class Mnist:
    """Source ``mnist``: grey images, factor ``digit``, the split of its files.

    The files lie in ``data/raw/mnist``, plain or gzipped; missing ones are downloaded.
    """

    def __init__(self, params: PreprocessParams, layout: Layout) -> None:
        del params
        self._folder = layout.raw / "mnist"

    def fetch(self) -> None:
        """Download the files that are missing.

        Raises:
            DataError: a file can be neither found nor downloaded.
        """
        missing = [name for name in _names() if self._find(name) is None]
        if missing:
            from torchvision.datasets import MNIST  # knows addresses and checksums

            checksums = dict(MNIST.resources)
            for name in missing:
                packed = f"{name}.gz"
                urls = [f"{mirror}{packed}" for mirror in MNIST.mirrors]
                download(RemoteFile(packed, urls, f"md5:{checksums[packed]}"), self._folder)

    def fingerprint(self, files: FileList) -> dict[str, Any]:
        """Return size and hash of the four files, unpacked."""
        return {"files": {name: files.file(str(self._path(name))) for name in _names()}}

    def n_images(self) -> int:
        """Return what the headers of the image files promise."""
        return sum(_header(self._path(f"{stem}-{_IMAGES}"), 3)[0] for stem in _SPLITS.values())

    def class_names(self) -> dict[str, list[str]]:
        """Digits name themselves."""
        return {}

    def blocks(self) -> Iterator[Block]:
        """Yield the training images, then the test images.

        Raises:
            DataError: a file is missing, damaged, or does not fit its partner.
        """
        for split, stem in _SPLITS.items():
            images_path, labels_path = self._path(f"{stem}-{_IMAGES}"), self._path(f"{stem}-{_LABELS}")
            n_images, n_labels = _header(images_path, 3)[0], _header(labels_path, 1)[0]
            if n_images != n_labels:
                raise DataError(
                    f"{images_path} and {labels_path} must hold the same number of entries, got {n_images} images and "
                    f"{n_labels} labels; fetch both again"
                )
            labels = read_idx(labels_path, 1).astype(np.int32)
            yield from _blocks(read_idx(images_path, 3), labels, split, f"{stem}-{_IMAGES}")

    def _find(self, name: str) -> Path | None:
        return next((path for path in (self._folder / name, self._folder / f"{name}.gz") if path.exists()), None)

    def _path(self, name: str) -> Path:
        path = self._find(name)
        if path is None:
            raise DataError(f"{self._folder / name} (or .gz) is missing; run facets scan to download it")
        return path


def read_idx(path: Path, n_axes: int) -> UInt8[np.ndarray, "..."]:
    """Read an IDX file of unsigned bytes, plain or gzipped, after checking that it is what it says.

    Args:
        path: of the file.
        n_axes: 3 for images, 1 for labels.

    Raises:
        DataError: wrong magic number, a size that its length contradicts, or a damaged gzip.
    """
    shape = _header(path, n_axes)
    n_head = 4 + 4 * n_axes
    expected = n_head + math.prod(shape)  # of any size, whereas 64 bits would overflow
    data = bytearray()
    with _as_data_error(path), _open(path) as file:
        # One byte more than expected, so that a small gzip cannot fill the memory.
        while part := file.read(min(_READ_BYTES, expected + 1 - len(data))):
            data += part
    if len(data) != expected:
        relation = "at least " if len(data) > expected else ""
        raise DataError(
            f"{path} must hold {expected} bytes, as its header says ({'×'.join(map(str, shape))}), "
            f"got {relation}{len(data)}; {_AGAIN}"
        )
    return np.frombuffer(data, np.uint8, offset=n_head).reshape(shape)


def _blocks(
    images: UInt8[np.ndarray, "image height width"], labels: Int32[np.ndarray, " image"], split: Split, name: str
) -> Iterator[Block]:
    step = rows_per_block(images[0].nbytes) if len(images) else 1
    for start in range(0, len(images), step):
        part = images[start : start + step, None]
        yield Block(
            images=part,
            paths=[f"{name}[{row}]" for row in range(start, start + len(part))],
            labels={"digit": labels[start : start + step]},
            split=split,
        )


def _header(path: Path, n_axes: int) -> tuple[int, ...]:
    """Return the sizes that an IDX file claims, after checking its magic number."""
    length = 4 + 4 * n_axes
    with _as_data_error(path), _open(path) as file:
        head = file.read(length)
    if len(head) < length:
        raise DataError(f"{path} must begin with {length} bytes of IDX header, got {len(head)} bytes; {_AGAIN}")
    magic = bytes([0, 0, _UNSIGNED_BYTE, n_axes])
    if head[:4] != magic:
        raise DataError(
            f"{path} must be an IDX file of unsigned bytes with {n_axes} axes (magic {magic.hex()}), "
            f"got magic {head[:4].hex()}; {_AGAIN}"
        )
    shape = tuple(map(int, np.frombuffer(head, ">u4", offset=4)))
    if 0 in shape[1:]:
        raise DataError(f"{path} must hold images of at least one pixel, got {shape[1]}×{shape[2]}; {_AGAIN}")
    return shape


def _open(path: Path) -> Any:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


@contextmanager
def _as_data_error(path: Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} must be a complete gzip file, but {error}; {_AGAIN}") from None


def _names() -> list[str]:
    return [f"{stem}-{kind}" for stem in _SPLITS.values() for kind in (_IMAGES, _LABELS)]
