"""A look at some of a person's images, for proposing how to treat them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

import numpy as np
from jaxtyping import UInt8

from pipeline.config.sections import PreprocessParams
from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.datasets.decoding.decoded_file import DecodedFile
from pipeline.datasets.decoding.pool import decode_files
from pipeline.datasets.decoding.transform import ImageTransform
from pipeline.datasets.decoding.worker import DecodeJob, Item
from pipeline.datasets.files.beneath import Root
from pipeline.datasets.files.location import locate
from pipeline.datasets.readers.base import OwnSource, open_own, recognise
from pipeline.datasets.readers.own_labels import FoundLabels
from pipeline.datasets.store.spec import Shape

_MOST, _MOST_BYTES = 512, 2**28


@dataclass(frozen=True)
class Sample:
    """What was seen of some images.

    Attributes:
        source: its name in ``preprocess.source``.
        n_images: in the whole source, good or bad.
        labels: what ``preprocess.labels`` could be.
        shapes: channel, height and width of the images in the sample, and how many have them.
        reasons: why images of the sample cannot be used, and how many.
        items: of the sample, to be read again.
        root: folder of the items, if local.
    """

    source: str
    n_images: int
    labels: FoundLabels
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
    """Look at some hundred images of whatever lies at a path or URL.

    Args:
        layout: relative paths start at its root.
        plain: any section ``preprocess``; only ``max_pixels`` counts.
        location: path or URL.

    Raises:
        DataError: there is nothing there, or no usable image among those looked at.
    """
    reader = open_own(plain, layout, location)
    items = _few(reader.sample(_MOST))
    found = _look(reader, recognise(locate(layout, location)), items, plain.max_pixels)
    if not found.shapes:
        reasons = "; ".join(f"{n} × {reason}" for reason, n in found.reasons.most_common(3))
        raise DataError(f"{location} must hold usable images, got none ({reasons or 'no files'}); correct the path")
    return found


def _look(reader: OwnSource, source: str, items: list[Item | DecodedFile], max_pixels: int) -> Sample:
    job = DecodeJob(reader.root(), max_pixels, None, pixel_bytes=0, with_encoded=False)
    files = [item for item in items if isinstance(item, DecodedFile)]
    encoded = [item for item in items if not isinstance(item, DecodedFile)]
    files += chain.from_iterable(decode_files(job, encoded, workers=0))
    shapes = Counter(file.shape for file in files if file.reason is None)
    reasons = Counter(file.reason for file in files if file.reason is not None)
    return Sample(
        source=source,
        n_images=reader.n_images(),
        labels=reader.possible_labels(),
        shapes=shapes,
        reasons=reasons,
        items=items,
        root=reader.root(),
    )


def _few(items: Iterable[Item | DecodedFile]) -> list[Item | DecodedFile]:
    """Return the items, fewer where they are large: all stay in memory."""
    found: list[Item | DecodedFile] = []
    n_bytes = 0
    for item in items:
        found.append(item)
        n_bytes += _bytes_of(item)
        if n_bytes >= _MOST_BYTES:
            break
    return found


def _bytes_of(item: Item | DecodedFile) -> int:
    if isinstance(item, DecodedFile):
        return 0 if item.pixels is None else item.pixels.nbytes
    return len(item[1]) if isinstance(item[1], bytes) else 0
