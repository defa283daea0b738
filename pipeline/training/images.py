"""The prepared training split: in memory, or read batch by batch from the disk when it exceeds memory."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from pipeline.core.errors import ModelError
from pipeline.core.hints import Hints
from pipeline.core.memory import available_bytes
from pipeline.core.seeding import numpy_generator
from pipeline.core.shapes import Inputs
from pipeline.datasets.store.images import ImageStore
from pipeline.datasets.store.spec import InputSpec

_MOST_VALIDATION = 10_000  # more images do not sharpen the bound's mean further
_MOST_WATCHED = 2000  # images whose clusters are kept epoch by epoch: an accuracy within one point
_MEMORY_PART = 0.4  # of the free memory that images may take
_BLOCK = 65_536

GatheredImages = Shaped[Tensor, "gathered channel height width"]


class AbstractImages(ABC):
    """Images that can be gathered by row."""

    @property
    @abstractmethod
    def spec(self) -> InputSpec:
        """What one image is."""

    @abstractmethod
    def gather(self, rows: Int64[Tensor, " gathered"]) -> GatheredImages:
        """Return images by row, in any order and with repeats.

        Those in memory come on the device that holds them, those from the disk on the device of ``rows``.
        """


class MemoryImages(AbstractImages):
    """All images in one array on the training device, as a spec says."""

    def __init__(self, images: Inputs, spec: InputSpec) -> None:
        self._images, self._spec = images, spec

    @property
    def spec(self) -> InputSpec:
        """What one image is."""
        return self._spec

    def gather(self, rows: Int64[Tensor, " gathered"]) -> GatheredImages:
        """Return rows of the array."""
        return self._images.index_select(0, rows.to(self._images.device))

    def to(self, device: torch.device) -> "MemoryImages":
        """Return the images on another device."""
        return MemoryImages(self._images.to(device), self._spec)


class DiskImages(AbstractImages):
    """Images read from the prepared store as they are needed."""

    def __init__(self, path: Path) -> None:
        self._store = ImageStore(path)

    @property
    def spec(self) -> InputSpec:
        """What one image is."""
        return self._store.spec

    def gather(self, rows: Int64[Tensor, " gathered"]) -> GatheredImages:
        """Read the distinct rows once, in the order of the disk."""
        distinct, where = np.unique(rows.cpu().numpy(), return_inverse=True)
        return torch.from_numpy(self._store.take(distinct)[where]).to(rows.device)


@dataclass(frozen=True)
class Watched:
    """Images that training never sees, whose clusters are followed over the epochs.

    Attributes:
        split: ``train``, of which they are held out, or ``test``.
        rows: of that split.
        images: on the CPU.
    """

    split: Literal["train", "test"]
    rows: Int64[np.ndarray, " watched"]
    images: GatheredImages


@dataclass(frozen=True)
class TrainingImages:
    """The training split, divided once for all seeds.

    Attributes:
        source: all images.
        train_rows: rows that training sees.
        validation_rows: rows that training never sees; empty if the fraction is 0.
        hints: what is known of rows that training sees.
        tested: images of the test split to watch where none are held out. They are looked at in curves alone, which
            decide nothing.
    """

    source: AbstractImages
    train_rows: Int64[np.ndarray, " image"]
    validation_rows: Int64[np.ndarray, " held_out"]
    hints: Hints | None = None
    tested: Watched | None = None

    @property
    def watched(self) -> Watched:
        """A regular subset of the held-out images, or of the test split's where there are none."""
        if self.tested is not None and not len(self.validation_rows):
            return self.tested
        rows = _regular(self.validation_rows)
        return Watched("train", rows, self.some(rows))

    def training_on(self, rows: Int64[np.ndarray, " image"]) -> "TrainingImages":
        """Return the same split, with some rows among those that training sees even if they were held out."""
        train_rows, validation_rows = np.union1d(self.train_rows, rows), np.setdiff1d(self.validation_rows, rows)
        return replace(self, train_rows=train_rows, validation_rows=validation_rows)

    def hinted(self, hints: Hints) -> "TrainingImages":
        """Return the same split with hints; those about rows that training never sees are left out.

        Raises:
            ModelError: what remains tells nothing of any pair of images.
        """
        kept = hints.among(self.train_rows)
        if not kept.facets():
            raise ModelError(
                f"hints must tell of two images at least, in one facet, that they are the same or different, but "
                f"{len(hints.rows) - len(kept.rows)} of {len(hints.rows)} hinted images are held out; "
                "give more hints, or lower validation_fraction"
            )
        return replace(self, hints=kept)

    def some(self, rows: Int64[np.ndarray, " gathered"]) -> GatheredImages:
        """Return images by row on the CPU."""
        return self.source.gather(torch.from_numpy(rows)).cpu()


def load_training_images(path: Path, validation_fraction: float, device: torch.device) -> TrainingImages:
    """Open the prepared training split and divide it by a fixed random order, the same for every seed.

    Raises:
        DataError: the file is missing or damaged.
        ModelError: too few images remain for training.
    """
    with ImageStore(path) as store:
        n_images = store.n_images
        if n_images - n_held_out(n_images, validation_fraction) < 2:
            raise ModelError(f"training needs at least 2 images, got {n_images} in {path}; add images")
        fits = n_images * store.spec.n_bytes <= _MEMORY_PART * _free_bytes(device)
        source = MemoryImages(_read_all(store).to(device), store.spec) if fits else DiskImages(path)
    return divide_images(source, n_images, validation_fraction)


def watch_test_images(images: TrainingImages, path: Path) -> TrainingImages:
    """Return the same split with images of the test split to watch, if none are held out.

    Raises:
        DataError: the file is missing or damaged.
    """
    if len(images.validation_rows):
        return images
    with ImageStore(path) as store:
        rows = _regular(np.arange(store.n_images))
        return replace(images, tested=Watched("test", rows, torch.from_numpy(store.take(rows))))


def divide_images(source: AbstractImages, n_images: int, validation_fraction: float) -> TrainingImages:
    """Hold out a part of the images by a fixed random order."""
    n_validation = n_held_out(n_images, validation_fraction)
    order = numpy_generator(0, "train", "validation").permutation(n_images)
    return TrainingImages(source, np.sort(order[n_validation:]), np.sort(order[:n_validation]))


def n_held_out(n_images: int, validation_fraction: float) -> int:
    """Return how many images are held out."""
    return min(int(n_images * validation_fraction), _MOST_VALIDATION)


def _regular(rows: Int64[np.ndarray, " image"]) -> Int64[np.ndarray, " watched"]:
    return rows[:: max(1, -(-len(rows) // _MOST_WATCHED))]


def _read_all(store: ImageStore) -> Inputs:
    images = torch.from_numpy(np.empty((store.n_images, *store.spec.shape), store.spec.dtype))
    for start in range(0, store.n_images, _BLOCK):
        stop = min(start + _BLOCK, store.n_images)
        images[start:stop] = torch.from_numpy(store.read(start, stop))
    return images


def _free_bytes(device: torch.device) -> int:
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_bytes()
