"""Street View House Numbers, cropped digits: MATLAB files with ``X`` (32×32×3×n) and ``y`` (1 to 10; 10 is digit 0)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from jaxtyping import Int32, UInt8

from pipeline.config.sections import PreprocessParams
from pipeline.datasets.download import RemoteFile, download
from pipeline.datasets.source import Block, FileList, Split, rows_per_block
from pipeline.errors import DataError
from pipeline.layout import Layout

_PAIR: dict[Split, str] = {"train": "train_32x32.mat", "test": "test_32x32.mat"}
_IMAGE = (32, 32, 3)
_MAX_DEFLATION = 1100  # zlib cannot pack better; a header that claims more lies


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
        return sum(_checked_length(path) for path in self._paths())

    def class_names(self) -> dict[str, list[str]]:
        """Digits name themselves."""
        return {}

    def blocks(self) -> Iterator[Block]:
        """Yield the training images, then the test images.

        A MATLAB file cannot be read in parts: each is held in memory as a whole (225 MB for the training images).

        Raises:
            DataError: a file is damaged or of another layout.
        """
        single = self._single()
        if single is None:
            for split, name in _PAIR.items():
                images, labels = read_mat(self._folder / name)
                yield from _blocks(images, labels, name, split, 0)
        else:
            images, labels = read_mat(single)
            border = len(images) - int(np.ceil(self._test_fraction * len(images) - 1e-9))
            yield from _blocks(images[:border], labels[:border], single.name, "train", 0)
            yield from _blocks(images[border:], labels[border:], single.name, "test", border)

    def _single(self) -> Path | None:
        files = sorted(self._folder.glob("*.mat"))
        return files[0] if len(files) == 1 and files[0].name not in _PAIR.values() else None

    def _paths(self) -> list[Path]:
        single = self._single()
        return [self._folder / name for name in _PAIR.values()] if single is None else [single]


def read_mat(path: Path) -> tuple[UInt8[np.ndarray, "image 3 32 32"], Int32[np.ndarray, " image"]]:
    """Return images (a view, channel first) and digits of one file.

    Raises:
        DataError: the file is missing, damaged or of another layout.
    """
    n_images = _checked_length(path)
    try:
        content = scipy.io.loadmat(path, variable_names=["X", "y"])
        pixels, labels = content["X"], content["y"]
    except Exception as error:  # noqa: BLE001 - a damaged file makes scipy raise whatever it stumbles over
        raise _damaged(path, error) from None
    if pixels.dtype != np.uint8 or pixels.shape != (*_IMAGE, n_images):
        raise DataError(
            f"{path}: X must be uint8 of shape 32×32×3×n, got {pixels.dtype} of shape {pixels.shape}; "
            "fetch the file of cropped digits"
        )
    if labels.size != n_images or labels.dtype.kind not in "ui" or not ((labels >= 1) & (labels <= 10)).all():
        raise DataError(
            f"{path}: y must hold one whole number from 1 to 10 for each of {n_images} images, "
            f"got {labels.dtype} of shape {labels.shape} with values {_range(labels)}; fetch the file again"
        )
    return pixels.transpose(3, 2, 0, 1), (labels.reshape(-1) % 10).astype(np.int32)


def _blocks(images: np.ndarray, labels: np.ndarray, name: str, split: Split, offset: int) -> Iterator[Block]:
    step = rows_per_block(int(np.prod(_IMAGE)))
    for start in range(0, len(images), step):
        part = np.ascontiguousarray(images[start : start + step])
        yield Block(
            images=part,
            paths=[f"{name}[{offset + row}]" for row in range(start, start + len(part))],
            labels={"digit": labels[start : start + step]},
            split=split,
        )


def _checked_length(path: Path) -> int:
    """Return the number of images after a look at the headers alone, before anything is allocated."""
    try:
        shapes = {name: shape for name, shape, _ in scipy.io.whosmat(path)}
        size = path.stat().st_size
    except FileNotFoundError:
        raise DataError(f"{path} is missing; run facets scan to download it") from None
    except Exception as error:  # noqa: BLE001 - see read_mat
        raise _damaged(path, error) from None
    for name in ("X", "y"):
        if name not in shapes:
            raise DataError(f"{path} must hold the variables X and y, got {sorted(shapes)}; fetch the right file")
    shape = tuple(shapes["X"])
    if len(shape) != 4 or shape[:3] != _IMAGE or shape[3] < 1:
        raise DataError(
            f"{path}: X must be of shape 32×32×3×n, got {'×'.join(map(str, shape))}; fetch the file of cropped digits"
        )
    if np.prod(shape, dtype=np.float64) > size * _MAX_DEFLATION:
        raise DataError(f"{path} must hold {shape[3]} images, but has only {size} bytes; fetch the file again")
    return int(shape[3])


def _damaged(path: Path, error: Exception) -> DataError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return DataError(f"{path} must be a complete MATLAB 5 file, but {reason}; fetch the file again")


def _range(values: np.ndarray) -> str:
    return f"{values.min()} to {values.max()}" if values.size and values.dtype.kind in "uif" else "none"
