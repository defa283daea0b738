"""A look at some of a person's images, for proposing how to treat them."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any, TypeVar

import numpy as np
from jaxtyping import UInt8

from pipeline.config.sections import PreprocessParams
from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.datasets.decoding.decoded_file import DecodedFile
from pipeline.datasets.decoding.pool import decode_files
from pipeline.datasets.decoding.transform import ImageTransform
from pipeline.datasets.decoding.worker import DecodeJob, Item
from pipeline.datasets.delivery.delivery import Kind, kind_of
from pipeline.datasets.files.beneath import Root
from pipeline.datasets.files.location import boundary, locate, storable
from pipeline.datasets.readers.array_files import open_arrays
from pipeline.datasets.readers.arrays import ArrayFile
from pipeline.datasets.readers.listing import Listing, list_folder
from pipeline.datasets.readers.own_labels import FOLDER, INSIDE, labels_of_files
from pipeline.datasets.readers.parquet import Parquet, label_columns, open_parquet
from pipeline.datasets.store.identity import hash_images
from pipeline.datasets.store.spec import Shape

_MOST, _MOST_BYTES = 512, 2**28
_CSV = "labels.csv"

T = TypeVar("T")


@dataclass(frozen=True)
class Sample:
    """What was seen of some images.

    Attributes:
        kind: of the source.
        n_images: in the whole source, good or bad.
        labels: what ``preprocess.labels`` could be.
        shapes: channel, height and width of the images in the sample, and how many have them.
        reasons: why images of the sample cannot be used, and how many.
        items: of the sample, to be read again.
        root: folder of the items, if local.
    """

    kind: Kind
    n_images: int
    labels: str | None
    shapes: Counter[Shape]
    reasons: Counter[str]
    items: list[Item | DecodedFile]
    root: Root | None

    def pixels(self, transform: ImageTransform, max_pixels: int) -> UInt8[np.ndarray, "image channel height width"]:
        """Return the usable images of the sample, transformed."""
        decoded = [item for item in self.items if isinstance(item, DecodedFile)]
        if decoded:
            return transform.apply([item.pixels for item in decoded if item.pixels is not None])
        job = DecodeJob(self.root, max_pixels, transform, pixel_bytes=None, with_encoded=False)
        items = [item for item in self.items if not isinstance(item, DecodedFile)]
        files = chain.from_iterable(decode_files(job, items, workers=0))
        return np.stack([file.pixels for file in files if file.pixels is not None])


def take_sample(layout: Layout, plain: PreprocessParams, location: str) -> Sample:
    """Look at some hundred images of a folder, array file or Parquet file.

    Args:
        layout: relative paths start at its root.
        plain: any section ``preprocess``; only ``max_pixels`` counts.
        location: path or URL.

    Raises:
        DataError: there is nothing there, or no usable image among those looked at.
    """
    place = locate(layout, location)
    kind = kind_of(place)
    own = replace(plain, source=kind, path=location, labels=None, factors=None)
    if kind == "folder":
        listing = list_folder(place)
        names = listing.names[:: -(-len(listing.names) // _MOST) or 1]
        items: list[Any] = _few(replace(listing, names=names).items(), _bytes_of_item)
        found = _look(kind, listing.root, items, own.max_pixels, _labels_of_folder(listing))
        found = replace(found, n_images=len(listing.names) + len(listing.rejected))
    elif kind == "parquet":
        table = Parquet(own, layout)
        with open_parquet(table.parts[0], boundary(layout, place)) as file:
            labels = INSIDE if label_columns(file) else None
        found = _look(kind, None, _few(table.items(), _bytes_of_item), own.max_pixels, labels)
        found = replace(found, n_images=table.n_images())
    else:
        array = ArrayFile(own, layout)
        with open_arrays(place, boundary(layout, place)) as (_, others):
            labels = INSIDE if others else None
        files = _few(_of_array(array), lambda file: 0 if file.pixels is None else file.pixels.nbytes)
        shapes = Counter(file.shape for file in files)
        found = Sample(kind, array.n_images(), labels, shapes, Counter(), list(files), None)
    if not found.shapes:
        reasons = "; ".join(f"{n} × {reason}" for reason, n in found.reasons.most_common(3))
        raise DataError(f"{location} must hold usable images, got none ({reasons or 'no files'}); correct the path")
    return found


def _look(kind: Kind, root: Root | None, items: list[Any], max_pixels: int, labels: str | None) -> Sample:
    job = DecodeJob(root, max_pixels, None, pixel_bytes=0, with_encoded=False)
    files = list(chain.from_iterable(decode_files(job, items, workers=0)))
    shapes = Counter(file.shape for file in files if file.reason is None)
    reasons = Counter(file.reason for file in files if file.reason is not None)
    return Sample(kind, 0, labels, shapes, reasons, items, root)


def _labels_of_folder(listing: Listing) -> str | None:
    if listing.root is not None:
        with suppress(DataError):  # none is there, or a table of something else
            names = list(map(storable, listing.names))
            labels_of_files(f"{listing.location}/{_CSV}", names, within=listing.location)
            return _CSV
    parents = {name.rpartition("/")[0] for name in listing.names}
    return FOLDER if 1 < len(parents) <= len(listing.names) // 2 else None


def _of_array(array: ArrayFile) -> Iterator[DecodedFile]:
    for block in array.blocks():
        for name, content, pixels in zip(block.paths, hash_images(block.images), block.images, strict=True):
            n_channels, height, width = pixels.shape
            yield DecodedFile(name, None, int(content), (n_channels, height, width), pixels)


def _few(items: Iterable[T], n_bytes_of: Callable[[T], int]) -> list[T]:
    """Return the first items, fewer where they are large: all stay in memory."""
    found: list[T] = []
    n_bytes = 0
    for item in islice(items, _MOST):
        found.append(item)
        n_bytes += n_bytes_of(item)
        if n_bytes >= _MOST_BYTES:
            break
    return found


def _bytes_of_item(item: Item) -> int:
    return len(item[1]) if isinstance(item[1], bytes) else 0
