"""A look at some of a person's images, for proposing how to treat them."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from pipeline.config.sections import PreprocessParams
from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.core.text import count_reasons, set_aside
from pipeline.datasets.decoding.transform import ImageTransform
from pipeline.datasets.decoding.worker import DecodeJob
from pipeline.datasets.files.location import locate
from pipeline.datasets.readers.base import OwnSource, open_own, recognise
from pipeline.datasets.readers.own_labels import FoundLabels
from pipeline.datasets.store.spec import Shape
from pipeline.onboarding.trial import MOST_IMAGES

_MOST = 512


@dataclass(frozen=True)
class Sample:
    """What was seen of some images.

    Attributes:
        source: its name in ``preprocess.source``.
        n_images: in the whole source, good or bad.
        labels: what ``preprocess.labels`` could be.
        shapes: channel, height and width of the images in the sample, and how many have them.
        reasons: why images of the sample cannot be used, and how many; as :func:`count_reasons` counts them.
        copies: images of the sample with the same content as another one of it before them.
        reader: of the source, for another look.
    """

    source: str
    n_images: int
    labels: FoundLabels
    shapes: Counter[Shape]
    reasons: dict[str, int]
    copies: int
    reader: OwnSource

    @property
    def n_seen(self) -> int:
        """How many images were looked at, good and bad."""
        return self.shapes.total() + sum(self.reasons.values())

    @property
    def n_usable(self) -> int:
        """How many images of the whole source can be used, if those not looked at are like the others."""
        return round(self.n_images * self.shapes.total() / self.n_seen)

    @property
    def every(self) -> str:
        """What may be said of all images looked at: "all", or how many they were."""
        return "all" if self.n_seen >= self.n_images else f"all {self.n_seen:,} looked at"

    def pixels(self, transform: ImageTransform, max_pixels: int) -> UInt8[np.ndarray, "image channel height width"]:
        """Return as many usable images as trials take, transformed; read again, as more than were looked at."""
        job = DecodeJob(None, max_pixels, transform, pixel_bytes=None, with_encoded=False)
        blocks = self.reader.sample(MOST_IMAGES, job)
        return np.concatenate([transform.apply(block.pixels) for block in blocks if len(block.paths)])


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
    job = DecodeJob(None, plain.max_pixels, None, pixel_bytes=0, with_encoded=False)
    shapes: Counter[Shape] = Counter()
    reasons: list[str] = []
    contents: list[bytes] = []
    for block in reader.sample(_MOST, job):
        shapes.update((channels, height, width) for channels, height, width in block.shapes.tolist())
        reasons += [reason for _, reason in block.rejected]
        contents += block.hashes.tolist()
    if not shapes:
        shown = set_aside(len(reasons), count_reasons(reasons)) if reasons else "no files"
        raise DataError(f"{location} must hold usable images, got none ({shown}); correct the path")
    return Sample(
        source=recognise(locate(layout, location)),
        n_images=reader.n_images(),
        labels=reader.possible_labels(),
        shapes=shapes,
        reasons=count_reasons(reasons),
        copies=len(contents) - len(set(contents)),
        reader=reader,
    )
