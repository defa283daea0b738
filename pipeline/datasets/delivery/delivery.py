"""Reading a delivery of new images, whatever holds them, at source size."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.config.sections import PreprocessParams
from pipeline.core.layout import Layout
from pipeline.datasets.decoding.transform import ImageTransform
from pipeline.datasets.decoding.worker import DecodeJob
from pipeline.datasets.files.location import locate
from pipeline.datasets.readers.base import RowSource, open_own
from pipeline.datasets.readers.block import Block

_PIXEL_BYTES = 2**16
"""Larger images of files are kept as the files' bytes: pixels would take many times the space."""


@dataclass(frozen=True)
class Delivery:
    """What a person or program hands over at once.

    Attributes:
        location: path or URL.
        n_images: how many images are expected, good and bad.
        blocks: the images in order, with the bytes of files; it can be gone through once.
        row_width: numbers of a row, where it holds rows in place of images.
    """

    location: str
    n_images: int
    blocks: Iterator[Block]
    row_width: int | None = None


def open_delivery(
    layout: Layout, params: PreprocessParams, location: str, workers: int, transform: ImageTransform | None = None
) -> Delivery:
    """Look at a delivery, without decoding anything yet.

    Args:
        layout: relative paths start at its root.
        params: of the experiment; only ``max_pixels``, ``include``, ``exclude``, ``follow_links`` and ``brightest``
            count.
        location: path or URL.
        workers: decoding processes; 0 means one a processor.
        transform: applied where images are decoded, of which nothing else is kept then; None keeps source size.

    Raises:
        DataError: there is nothing there, or what holds the images is damaged as a whole.
    """
    reader = open_own(params, layout, location)
    job = DecodeJob(
        None,
        params.max_pixels,
        transform=transform,
        pixel_bytes=_PIXEL_BYTES if transform is None else None,
        with_encoded=transform is None,
        brightest=params.brightest,
    )
    row_width = reader.row_width() if isinstance(reader, RowSource) else None
    return Delivery(locate(layout, location), reader.n_images(), reader.blocks(job, workers), row_width)
