"""A look at some of a person's images, for proposing how to treat them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import UInt8

from pipeline.config.parse import parse
from pipeline.config.sections import PreprocessParams
from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.core.text import count_reasons, set_aside
from pipeline.datasets.decoding.transform import ImageTransform
from pipeline.datasets.decoding.worker import DecodeJob
from pipeline.datasets.files.location import locate
from pipeline.datasets.readers.base import FileSource, OwnSource, open_own, recognise
from pipeline.datasets.readers.own_labels import FoundLabels
from pipeline.datasets.readers.patterns import Patterns
from pipeline.datasets.store.spec import Shape
from pipeline.onboarding.kinds import Kind, Seen, find_kinds
from pipeline.onboarding.trial import MOST_IMAGES

_MOST = 512
_JUDGED_BYTES = 2**20
"""Larger images are not looked at for being masks."""

_NEARLY_ALL = 0.98

_USUAL_BITS = (10, 12, 14)
"""Of cameras and scanners that write 16."""


@dataclass(frozen=True)
class Sample:
    """What was seen of some images.

    Attributes:
        source: its name in ``preprocess.source``.
        n_images: in the whole source, good or bad.
        labels: what ``preprocess.labels`` could be.
        seen: the usable images of the sample.
        reasons: why images of the sample cannot be used, and how many; as :func:`count_reasons` counts them.
        brightest: what ``preprocess.brightest`` could be; None where no image has 16 bits, or nearly all 16 are in use.
        kinds: kinds of files that names tell apart; none where all are of one kind, or have no names.
        exclude: patterns on paths of images that are not part of the sample.
        reader: of the source, for another look.
    """

    source: str
    n_images: int
    labels: FoundLabels
    seen: Sequence[Seen]
    reasons: dict[str, int]
    brightest: int | None
    kinds: Sequence[Kind]
    exclude: tuple[str, ...] | None
    reader: OwnSource

    @cached_property
    def shapes(self) -> Counter[Shape]:
        """Channel, height and width of the images, and how many have them."""
        return Counter(image.shape for image in self.seen)

    @property
    def peak(self) -> int | None:
        """The largest value in 16-bit images, before any scaling; None where no image has 16 bits."""
        return _peak(self.seen)

    @property
    def copies(self) -> int:
        """How many images have the same content as another one before them."""
        return len(self.seen) - len({image.content for image in self.seen})

    @property
    def n_transparent(self) -> int:
        """How many images have pixels that are not opaque."""
        return sum(image.is_transparent for image in self.seen)

    @property
    def n_masks(self) -> int:
        """How many files of the whole source are masks, and left out."""
        return sum(kind.n_files for kind in self.kinds if kind.is_masks)

    @property
    def n_seen(self) -> int:
        """How many images were looked at, good and bad."""
        return len(self.seen) + sum(self.reasons.values())

    @property
    def n_usable(self) -> int:
        """How many images of the whole source can be used, if those not looked at are like the others."""
        return round(self.n_images * len(self.seen) / self.n_seen)

    @property
    def every(self) -> str:
        """What may be said of all images looked at: "all", or how many they were."""
        return "all" if self.n_seen >= self.n_images else f"all {self.n_seen:,} looked at"

    def pixels(self, transform: ImageTransform, max_pixels: int) -> UInt8[np.ndarray, "image channel height width"]:
        """Return as many usable images as trials take, transformed; read again, as more than were looked at."""
        job = DecodeJob(None, max_pixels, transform, pixel_bytes=None, with_encoded=False, brightest=self.brightest)
        kept = Patterns(exclude=self.exclude)
        parts: list[np.ndarray] = []
        for block in self.reader.sample(MOST_IMAGES, job):
            rows = [row for row, path in enumerate(block.paths) if kept.reason(path) is None]
            if rows:
                parts.append(transform.apply(block.take(rows).pixels))
        return np.concatenate(parts)


def take_sample(layout: Layout, usual: Mapping[str, Any], location: str) -> Sample:
    """Look at some hundred images of whatever lies at a path or URL; masks of other images are left out.

    Args:
        layout: relative paths start at its root.
        usual: the section ``preprocess`` of a preset.
        location: path or URL.

    Raises:
        DataError: there is nothing there, or no usable image among those looked at.
    """
    source = recognise(locate(layout, location))
    own = parse(PreprocessParams, {**usual, "source": source, "path": location}, "preprocess")
    reader = open_own(own, layout, location)
    seen, reasons = _see(reader, own.max_pixels, None)
    if not seen:
        shown = set_aside(len(reasons), count_reasons(reasons)) if reasons else "no files"
        raise DataError(f"{location} must hold usable images, got none ({shown}); correct the path")
    kinds = find_kinds(seen, reader.names()) if isinstance(reader, FileSource) else []
    masks = tuple(pattern for kind in kinds if kind.is_masks for pattern in kind.patterns) or None
    kept = Patterns(exclude=masks)
    brightest = _choose_brightest([image for image in seen if kept.reason(image.path) is None])
    if brightest is not None:  # by the full range, images that differ may be equally black
        seen, reasons = _see(reader, own.max_pixels, brightest)
    why_left_out = [kept.reason(image.path) for image in seen]
    return Sample(
        source=source,
        n_images=reader.n_images(),
        labels=open_own(replace(own, exclude=masks), layout, location).possible_labels(),
        seen=[image for image, reason in zip(seen, why_left_out, strict=True) if reason is None],
        reasons=count_reasons([*reasons, *filter(None, why_left_out)]),
        brightest=brightest,
        kinds=kinds,
        exclude=masks,
        reader=reader,
    )


def _choose_brightest(seen: Sequence[Seen]) -> int | None:
    """Return the largest value of the fewest usual bits that hold all 16-bit images."""
    peak = _peak(seen)
    return None if peak is None else next((2**n - 1 for n in _USUAL_BITS if peak < 2**n), None)


def _peak(seen: Sequence[Seen]) -> int | None:
    peak = max(image.peak for image in seen) if seen else -1
    return None if peak < 0 else peak


def _see(reader: OwnSource, max_pixels: int, brightest: int | None) -> tuple[list[Seen], list[str]]:
    """Return what is known of the usable images of a sample, and why others are not usable."""
    has_files = isinstance(reader, FileSource)
    most = _JUDGED_BYTES if has_files else 0
    job = DecodeJob(None, max_pixels, None, pixel_bytes=most, with_encoded=False, brightest=brightest)
    seen: list[Seen] = []
    reasons: list[str] = []
    for block in reader.sample(_MOST, job):
        reasons += [reason for _, reason in block.rejected]
        n = len(block.paths)
        peaks = [-1] * n if block.peaks is None else block.peaks.tolist()
        transparent = [False] * n if block.transparent is None else block.transparent.tolist()
        columns = block.paths, block.shapes.tolist(), block.hashes.tolist(), block.images, peaks, transparent
        for path, (channels, height, width), content, pixels, peak, is_transparent in zip(*columns, strict=True):
            is_two_valued = has_files and pixels is not None and _is_two_valued(pixels)
            seen.append(Seen(path, (channels, height, width), content, is_two_valued, peak, is_transparent))
    return seen, reasons


def _is_two_valued(pixels: UInt8[np.ndarray, "channel height width"]) -> bool:
    """Tell whether nearly all pixels have one of two values; compressed masks have few others at their edges."""
    counts = np.bincount(pixels.ravel(), minlength=256)
    return bool(np.sort(counts)[-2:].sum() >= _NEARLY_ALL * counts.sum())
