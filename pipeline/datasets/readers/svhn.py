"""Street View House Numbers, cropped digits: MATLAB files with ``X`` (32×32×3×n) and ``y`` (1 to 10; 10 is digit 0)."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32

from pipeline.config.sections import PreprocessParams
from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.datasets.files.download import RemoteFile, download
from pipeline.datasets.readers.base import FileList
from pipeline.datasets.readers.block import Block, rows_per_block
from pipeline.datasets.readers.mat import MatArray, list_arrays
from pipeline.datasets.store.spec import Split

_PAIR: dict[Split, str] = {"train": "train_32x32.mat", "test": "test_32x32.mat"}
_IMAGE = (32, 32, 3)
_LABELS_AT_ONCE = 2**20


class Svhn:
    """Source ``svhn``: colour images 3×32×32, factor ``digit``.

    Read are the two files of the data set in ``data/raw/svhn`` (downloaded if missing), each a split. A single other
    ``.mat`` file there is taken instead; its last ``test_fraction`` is the test split, since neighbouring images
    come from one house number and a random split would put its digits on both sides.
    """

    def __init__(self, params: PreprocessParams, layout: Layout) -> None:
        self._folder = layout.raw / "svhn"
        self._test_fraction = params.test_fraction

    def fetch(self) -> None:
        """Download the files that are missing.

        Raises:
            DataError: a file can be neither found nor downloaded.
        """
        if self._single() is not None:
            return
        missing = [name for name in _PAIR.values() if not (self._folder / name).exists()]
        if missing:
            from torchvision.datasets import SVHN  # knows addresses and checksums

            known = {name: (url, md5) for url, name, md5 in SVHN.split_list.values()}
            for name in missing:
                url, md5 = known[name]
                download(RemoteFile(name, [url], f"md5:{md5}"), self._folder)

    def fingerprint(self, files: FileList) -> dict[str, Any]:
        """Return size and hash of the files."""
        return {"files": {path.name: files.file(str(path)) for path in self._paths()}}

    def n_images(self) -> int:
        """Return what the headers of the files promise."""
        return sum(MatImages(path).n_images for path in self._paths())

    def class_names(self) -> dict[str, list[str]]:
        """Digits name themselves."""
        return {}

    def blocks(self) -> Iterator[Block]:
        """Yield the training images, then the test images.

        Raises:
            DataError: a file is damaged or of another layout.
        """
        single = self._single()
        if single is None:
            for split, name in _PAIR.items():
                file = MatImages(self._folder / name)
                yield from file.blocks(0, file.n_images, split)
        else:
            file = MatImages(single)
            border = file.n_images - math.ceil(self._test_fraction * file.n_images - 1e-9)
            yield from file.blocks(0, border, "train")
            yield from file.blocks(border, file.n_images, "test")

    def _single(self) -> Path | None:
        files = sorted(self._folder.glob("*.mat"))
        return files[0] if len(files) == 1 and files[0].name not in _PAIR.values() else None

    def _paths(self) -> list[Path]:
        single = self._single()
        return [self._folder / name for name in _PAIR.values()] if single is None else [single]


class MatImages:
    """One file, with images and labels checked as far as its headers and ``y`` go.

    Raises:
        DataError: the file is missing, damaged or of another layout.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        arrays = list_arrays(path)
        for name in ("X", "y"):
            if name not in arrays:
                raise DataError(f"{path} must hold the variables X and y, got {sorted(arrays)}; fetch the right file")
        self._pixels = arrays["X"]
        if self._pixels.dtype != np.uint8 or self._pixels.shape[:3] != _IMAGE or len(self._pixels.shape) != 4:
            raise DataError(
                f"{path}: X must be uint8 of shape 32×32×3×n, got {_describe(self._pixels)}; "
                "fetch the file of cropped digits"
            )
        self.n_images = self._pixels.shape[3]
        self.digits = self._read_digits(arrays["y"])

    def blocks(self, start: int, stop: int, split: Split) -> Iterator[Block]:
        """Yield the images from ``start`` to ``stop`` (exclusive)."""
        image_bytes = math.prod(_IMAGE)
        row = 0
        for values in self._pixels.values(rows_per_block(image_bytes) * image_bytes):
            columns = values.reshape(-1, 3, 32, 32)  # image channel width height: MATLAB's first axis varies fastest
            first, last = max(start - row, 0), min(stop - row, len(columns))
            if first < last:
                yield Block(
                    images=np.ascontiguousarray(columns[first:last].transpose(0, 1, 3, 2)),
                    paths=[f"{self.path.name}[{row + place}]" for place in range(first, last)],
                    labels={"digit": self.digits[row + first : row + last]},
                    split=split,
                )
            row += len(columns)
            if row >= stop:
                return

    def _read_digits(self, labels: MatArray) -> Int32[np.ndarray, " image"]:
        if labels.dtype is None or math.prod(labels.shape) != self.n_images:
            raise DataError(
                f"{self.path}: y must hold one number for each of {self.n_images} images, got {_describe(labels)}; "
                "fetch the file again"
            )
        values = np.concatenate([np.empty(0), *labels.values(_LABELS_AT_ONCE)])
        if not np.isin(values, np.arange(1, 11)).all():
            raise DataError(
                f"{self.path}: y must hold whole numbers from 1 to 10, where 10 is the digit 0, "
                f"got {values[~np.isin(values, np.arange(1, 11))][0]:g}; fetch the file again"
            )
        return (values % 10).astype(np.int32)


def _describe(array: MatArray) -> str:
    return f"{array.dtype or 'no real numbers'} of shape {'×'.join(map(str, array.shape))}"
