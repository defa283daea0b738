"""Images as programs hand them over (names of files, pictures, arrays), decoded as those of a delivery are."""

import os
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import numpy as np
from jaxtyping import Shaped
from PIL import Image

from pipeline.core.errors import DataError
from pipeline.datasets.decoding.decode import picture_samples, without_warnings
from pipeline.datasets.decoding.decoded_file import DecodedFile
from pipeline.datasets.decoding.pool import decode_files
from pipeline.datasets.decoding.worker import DecodeJob, Item, prepare_samples
from pipeline.datasets.files.bounds import most_file_bytes
from pipeline.datasets.files.location import open_location, storable
from pipeline.datasets.readers.arrays import image_layout, to_uint8
from pipeline.datasets.readers.block import rows_per_block

_NAME = (str, os.PathLike)
_KINDS = "names of files, pictures of Pillow or arrays (height, width[, channel])"


def decode_given(images: Any, job: DecodeJob) -> Iterator[DecodedFile]:
    """Yield the outcome of every image in order; those that were given by name have one.

    Args:
        images: an array (n, height, width[, channel]); or an iterable of names of files, of pictures or of arrays.
        job: what is wanted of every image.

    Raises:
        DataError: ``images`` is something else, or an array of them breaks a rule.
        ResourceError: see :func:`pipeline.datasets.decoding.pool.decode_files`.
    """
    if isinstance(images, np.ndarray) and images.dtype.kind not in "OSU":
        yield from _decode_array("images", images, job)
        return
    if isinstance(images, (*_NAME, bytes)) or not isinstance(images, Iterable):
        raise DataError(
            f"images must be several, a list of {_KINDS} or one array (n, height, width[, channel]), got "
            f"{images!r:.80}; put it into a list, of a folder its files"
        )
    coming = iter(images)
    first = next(coming, None)
    if first is None:
        return
    kind = next((kind for kind in (_NAME, Image.Image, np.ndarray) if isinstance(first, kind)), ())
    checked = _of_one_kind(chain([first], coming), kind)
    if kind is _NAME:
        for files in decode_files(job, (_item(os.fspath(name), job.max_pixels) for name in checked), 0):
            yield from files
    else:
        yield from (_decode_one(one, job) for one in checked)


def _of_one_kind(images: Iterable[Any], kind: Any) -> Iterator[Any]:
    for place, image in enumerate(images):
        if not isinstance(image, kind):
            raise DataError(f"images must all be of one kind, {_KINDS}, got {type(image).__name__} at place {place}")
        yield image


def _item(name: str, max_pixels: int) -> Item:
    try:
        with open_location(name) as file:
            return storable(name), file.read(most_file_bytes(max_pixels) + 1)  # a longer file is refused by its length
    except DataError as error:
        return storable(name), DataError(str(error).removeprefix(f"{name} "))


def _decode_one(image: Any, job: DecodeJob) -> DecodedFile:
    try:
        if isinstance(image, np.ndarray):
            return next(_decode_array("the array", image[None], job))
        with without_warnings():
            return prepare_samples(job, "", picture_samples(image, job.max_pixels))
    except DataError as error:
        return DecodedFile("", str(error))


def _decode_array(name: str, images: Shaped[np.ndarray, "image *sample"], job: DecodeJob) -> Iterator[DecodedFile]:
    channel_axis = image_layout(name, images.shape, images.dtype, job.max_pixels)
    step = rows_per_block(images[0].nbytes)
    for start in range(0, len(images), step):
        pixels = to_uint8(images[start : start + step], name, job.brightest)
        stacked = pixels[:, None] if channel_axis is None else np.moveaxis(pixels, channel_axis, 1)
        yield from (prepare_samples(job, "", samples) for samples in stacked)
