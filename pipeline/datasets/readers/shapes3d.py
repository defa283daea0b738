"""3DShapes (``3dshapes.h5``) and files of rendered scenes in the same layout, any choice of factor combinations."""

import math
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Int64

from pipeline.config.sections import PreprocessParams
from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.datasets.files.download import RemoteFile, download
from pipeline.datasets.readers.base import FileList
from pipeline.datasets.readers.block import Block
from pipeline.datasets.readers.factors import FACTORS, file_rows, labels_to_factors, select_factors
from pipeline.datasets.readers.hdf5 import open_hdf5, require_dataset

_FILE = RemoteFile(
    "3dshapes.h5",
    ["https://storage.googleapis.com/3d-shapes/3dshapes.h5"],
    "md5:099a2078d58cec4daad0702c55d06868",
)

_IMAGE = (64, 64, 3)
_MOST = math.prod(FACTORS.values())

_WINDOW = 1024
"""Rows of the file that are read at once, 12 MiB; windows without a wanted row are skipped."""


class Shapes3d:
    """Source ``shapes3d``: colour images 3×64×64; those factors are labels that vary within the selection.

    The file lies in ``data/raw/shapes3d`` or is downloaded there.
    """

    def __init__(self, params: PreprocessParams, layout: Layout) -> None:
        self._folder = layout.raw / "shapes3d"
        self._file = Shapes3dFile(self._folder / _FILE.name, params.factors)

    def fetch(self) -> None:
        """Download the file if it is missing.

        Raises:
            DataError: it can be neither found nor downloaded.
        """
        if not self._file.path.exists():
            download(_FILE, self._folder)

    def fingerprint(self, files: FileList) -> dict[str, Any]:
        """Return size and hash of the file."""
        return {"files": {_FILE.name: files.file(str(self._file.path))}}

    def n_images(self) -> int:
        """Return the number of chosen factor combinations."""
        return self._file.n_images()

    def class_names(self) -> dict[str, list[str]]:
        """Return the names of the four shapes; the other factors are indices."""
        return self._file.class_names()

    def blocks(self) -> Iterator[Block]:
        """Yield the chosen images in the order of the file."""
        return self._file.blocks()


class Shapes3dFile:
    """Reader of a file with the datasets ``images`` (n, 64, 64, 3) uint8, ``labels`` (n, 6) float.

    Args:
        path: of the file; it may hold any subset of the 480,000 combinations in any order.
        selection: as ``preprocess.factors``.
    """

    def __init__(self, path: Path, selection: str | None) -> None:
        self.path = path
        self._selection = selection

    def n_images(self) -> int:
        """Return the number of chosen factor combinations."""
        return len(self._wanted)

    def class_names(self) -> dict[str, list[str]]:
        """Return the names of the four shapes, if the shape varies."""
        return {"shape": ["cube", "cylinder", "sphere", "capsule"]} if "shape" in self._varying() else {}

    def blocks(self) -> Iterator[Block]:
        """Yield the chosen images in the order of the file; only parts with chosen rows are read.

        Raises:
            DataError: the file is damaged, has another layout, or lacks a chosen combination.
        """
        with open_hdf5(self.path) as file:
            images = _checked_images(file)
            factors = self._read_factors(file)
            chosen = self._chosen_rows(factors)
            for start in range(0, len(images), _WINDOW):
                first, last = np.searchsorted(chosen, [start, start + _WINDOW])
                if first < last:
                    rows = chosen[first:last]
                    pixels = images[rows[0] : rows[-1] + 1][rows - rows[0]]
                    yield Block(
                        images=np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)),
                        paths=[f"{self.path.name}[{row}]" for row in rows],
                        labels={name: factors[rows, axis].astype(np.int32) for name, axis in self._varying().items()},
                    )

    @cached_property
    def _wanted(self) -> Int64[np.ndarray, " image"]:
        return np.sort(file_rows(select_factors(self._selection)))

    def _varying(self) -> dict[str, int]:
        chosen = select_factors(self._selection)
        return {name: axis for axis, name in enumerate(FACTORS) if (chosen[:, axis] != chosen[0, axis]).any()}

    def _read_factors(self, file: h5py.File) -> Int64[np.ndarray, "image 6"]:
        labels = require_dataset(file, "labels")
        if labels.shape != (len(require_dataset(file, "images")), len(FACTORS)) or labels.dtype.kind != "f":
            raise DataError(
                f"{self.path}: labels must be floats of shape (images, {len(FACTORS)}), "
                f"got {labels.dtype} of shape {labels.shape}; fetch the file again"
            )
        return labels_to_factors(labels[:].astype(np.float64))

    def _chosen_rows(self, factors: Int64[np.ndarray, "image 6"]) -> Int64[np.ndarray, " chosen"]:
        combinations = file_rows(factors)
        absent = self._wanted[~np.isin(self._wanted, combinations)]
        if len(absent):
            first = dict(zip(FACTORS, np.unravel_index(absent[0], tuple(FACTORS.values())), strict=True))
            raise DataError(
                f"{self.path} must hold the {len(self._wanted)} factor combinations of {self._selection or 'all'}, "
                f"got {len(absent)} fewer, e.g. without {', '.join(f'{k}={v}' for k, v in first.items())}; "
                "choose other factors or fetch the file again"
            )
        return np.flatnonzero(np.isin(combinations, self._wanted))


def _checked_images(file: h5py.File) -> Any:
    images = require_dataset(file, "images")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != _IMAGE or len(images) > _MOST:
        raise DataError(
            f"{file.filename}: images must be uint8 of shape (n, 64, 64, 3) with n at most {_MOST}, "
            f"got {images.dtype} of shape {images.shape}; fetch the file again"
        )
    return images
