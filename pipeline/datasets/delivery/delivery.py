"""Reading a delivery of new images, whatever holds them, at source size."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.config.sections import PreprocessParams
from pipeline.core.layout import Layout
from pipeline.datasets.decoding.worker import DecodeJob
from pipeline.datasets.files.location import locate
from pipeline.datasets.readers.base import open_own
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
    """

    location: str
    n_images: int
    blocks: Iterator[Block]


def open_delivery(layout: Layout, params: PreprocessParams, location: str, workers: int) -> Delivery:
    """Look at a delivery, without decoding anything yet.

    Args:
        layout: relative paths start at its root.
        params: of the experiment; only ``max_pixels``, ``include``, ``exclude``, ``follow_links`` and ``brightest``
            count.
        location: path or URL.
        workers: decoding processes; 0 means one a processor.

    Raises:
        DataError: there is nothing there, or what holds the images is damaged as a whole.
    """
    reader = open_own(params, layout, location)
    job = DecodeJob(
        None,
        params.max_pixels,
        transform=None,
        pixel_bytes=_PIXEL_BYTES,
        with_encoded=True,
        brightest=params.brightest,
    )
    return Delivery(locate(layout, location), reader.n_images(), reader.blocks(job, workers))
