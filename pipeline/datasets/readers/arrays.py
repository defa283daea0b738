"""Sources ``npy`` and ``hdf5``: one array of images, or of rows of numbers, in a file."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from pipeline.config.sections import PreprocessParams
from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.datasets.decoding.bit_depth import eight_bits, has_16_bits
from pipeline.datasets.decoding.worker import DecodeJob
from pipeline.datasets.files.bounds import IMAGE_BYTES
from pipeline.datasets.files.location import beside, boundary, locate, storable
from pipeline.datasets.readers.array_files import ArrayRows, open_arrays
from pipeline.datasets.readers.array_parts import ArrayPart, find_parts, require_one_shape
from pipeline.datasets.readers.base import FileList
from pipeline.datasets.readers.block import Block, drawn_places, rows_per_block
from pipeline.datasets.readers.own_labels import (
    FOLDER,
    INSIDE,
    LABEL_BYTES,
    LONGEST_LABEL,
    FoundLabels,
    Labels,
    encode_labels,
    labels_of_rows,
    labels_too_long,
)
from pipeline.datasets.readers.rows import block_of_rows, require_rows

_CHANNELS = ((1, 3), (2, 4))
"""Likely numbers of channels, and others; the likely ones are looked for first."""


_PIECE = 2**20  # numbers

_HAIR = 1 / 512  # by which rounding and resampling leave the range of floats: half a grey level

_LABELS_AT_ONCE = 256  # they may lie in the file once and be as long as it


class ArrayFile:
    """Images or rows in an NPY, NPZ or HDF5 file; the axes of the array decide.

    Shapes: (n, d) are rows of d floats, which stay as they are (:mod:`pipeline.datasets.readers.rows`). All else is
    images: (n, height, width) is grey; with a fourth axis, the channels are the last or else the second axis,
    whichever has a length of 1 or 3, else of 2 or 4. Values: uint8 as they are; bool as 0 and 255; uint16 scaled,
    65535 or ``preprocess.brightest`` to 255; floats from 0 to 1, times 255; other whole numbers if all lie within 0
    and 255.
    Arrays of several splits are read one after the other. Labels come from a CSV with one line an image, or
    (``inside``) from arrays of one whole number or text an image beside the images.
    """

    def __init__(self, params: PreprocessParams, layout: Layout) -> None:
        self._params = params
        self._location = locate(layout, params.path or "")
        self._within = boundary(layout, self._location)
        if params.labels == FOLDER:
            raise DataError(
                "labels: folder needs source folder, tar or zip, got an array file; use a CSV, inside or null"
            )

    def fetch(self) -> None:
        """Check that the file holds images.

        Raises:
            DataError: it is missing, damaged or says not which array holds the images.
        """
        self.n_images()

    def fingerprint(self, files: FileList) -> dict[str, Any]:
        """Return size and hash of the file, and of the CSV."""
        value = {"file": files.file(self._location, self._within)}
        return value if self._csv is None else {**value, "labels": files.file(self._csv)}

    def n_images(self) -> int:
        """Return the length of the arrays."""
        with self._open() as parts:
            return sum(part.images.shape[0] for part in parts)

    def row_width(self) -> int | None:
        """Return how many numbers a row has; None where there are images."""
        with self._open() as parts:
            shape = parts[0].images.shape
            return shape[1] if len(shape) == 2 else None

    def class_names(self) -> dict[str, list[str]]:
        """Return the classes' names where labels are texts."""
        with self._open() as parts:
            return self._read_labels(parts).class_names

    def blocks(self, job: DecodeJob | None = None, workers: int = 0) -> Iterator[Block]:
        """Yield all images in order; there is nothing to decode.

        Raises:
            DataError: a value lies outside its range, or splits differ in shape where ``size`` leaves the source's.
        """
        with self._open() as parts:
            if job is None:
                require_one_shape(parts, self._params)
            brightest = self._params.brightest if job is None else job.brightest
            labels, n_before = self._read_labels(parts), 0
            for part in parts:
                images = part.images
                step = rows_per_block(math.prod(images.shape[1:]) * images.dtype.itemsize)
                for start in range(0, images.shape[0], step):
                    block, is_usable = self._block(part, parts, start, min(step, images.shape[0] - start), brightest)
                    usable = n_before + start + np.flatnonzero(is_usable)
                    yield replace(block, labels=labels.rows(usable.tolist()))
                n_before += images.shape[0]

    def sample(self, most: int, job: DecodeJob) -> Iterator[Block]:
        """Yield images drawn from all arrays; those between are passed over."""
        with self._open() as parts:
            wanted, start = drawn_places(sum(part.images.shape[0] for part in parts), most), 0
            for part in parts:
                stop, place = start + part.images.shape[0], start
                for wanted_place in (each for each in wanted if start <= each < stop):
                    part.images.skip(wanted_place - place)
                    place = wanted_place + 1
                    yield self._block(part, parts, wanted_place - start, 1, job.brightest)[0]
                start = stop

    def possible_labels(self) -> FoundLabels:
        """Return that there are arrays beside the images that can be used."""
        with self._open() as parts:
            if not parts[0].labels:
                return FoundLabels(None)
            try:
                self._read_inside(parts)
            except DataError as error:
                return FoundLabels(None, (f"the arrays beside the images are not used as labels: {error}",))
            return FoundLabels(INSIDE)

    def _block(
        self, part: ArrayPart, parts: Sequence[ArrayPart], start: int, n_rows: int, brightest: int | None
    ) -> tuple[Block, Bool[np.ndarray, " image"]]:
        """Return the next rows, of which the first is ``start``, and which of them can be used."""
        name = self._location.rpartition("/")[2]
        name = storable(name if len(parts) == 1 else f"{name}:{part.images.name.rpartition(':')[2]}")
        values = part.images.read(n_rows)
        paths = [f"{name}[{row}]" for row in range(start, start + n_rows)]
        if values.ndim == 2:
            return block_of_rows(values, paths, part.split)
        channel_axis = image_layout(part.images.name, part.images.shape, part.images.dtype, self._params.max_pixels)
        pixels = to_uint8(values, part.images.name, brightest)
        block = Block(
            images=pixels[:, None] if channel_axis is None else np.moveaxis(pixels, channel_axis, 1),
            paths=paths,
            split=part.split,
            peaks=values.reshape(n_rows, -1).max(axis=1).astype(np.int32) if has_16_bits(values) else None,
        )
        return block, np.ones(n_rows, bool)

    @contextmanager
    def _open(self) -> Iterator[list[ArrayPart]]:
        with open_arrays(self._location, self._within) as arrays:
            parts = find_parts(arrays, self._location)
            for part in parts:
                part.images.require_bounded()
                if len(part.images.shape) == 2:
                    require_rows(part.images.name, part.images.shape, part.images.dtype)
                else:
                    image_layout(part.images.name, part.images.shape, part.images.dtype, self._params.max_pixels)
            yield parts

    def _read_labels(self, parts: Sequence[ArrayPart]) -> Labels:
        n_images = sum(part.images.shape[0] for part in parts)
        if self._csv is not None:
            return labels_of_rows(self._csv, n_images)
        if self._params.labels != INSIDE:
            return Labels()
        if not parts[0].labels:
            raise DataError(
                f"{self._location} must hold arrays of {n_images} whole numbers or texts beside the images for "
                "labels: inside, got none; use a CSV or null"
            )
        return self._read_inside(parts)

    def _read_inside(self, parts: Sequence[ArrayPart]) -> Labels:
        texts = {
            key: [text for part in parts for text in _read_texts(part.labels[key], part.images.shape[0])]
            for key in parts[0].labels
        }
        return encode_labels(texts, self._location)

    @property
    def _csv(self) -> str | None:
        name = self._params.labels
        return None if name in (None, INSIDE) else beside(self._location, name)


def image_layout(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], max_pixels: int) -> int | None:
    """Return the axis of the channels, None for grey images without one.

    Args:
        name: of the array.
        shape: of the array, images first.
        dtype: of its numbers.
        max_pixels: that an image may have.

    Raises:
        DataError: the shape or the numbers' type is not one of images.
    """
    axis = None
    if len(shape) == 4:
        axis = next((axis for counts in _CHANNELS for axis in (3, 1) if shape[axis] in counts), 0)
    if len(shape) not in (3, 4) or axis == 0:
        raise DataError(
            f"{name} must have shape (n, height, width), (n, height, width, channels) or (n, channels, height, width) "
            f"with 1 to 4 channels, or (n, features) of floats, got {shape}; reshape the array"
        )
    if 0 in shape:
        raise DataError(f"{name} must hold at least one image of at least one pixel, got shape {shape}")
    n_pixels = math.prod(shape[1:]) // (1 if axis is None else shape[axis])
    if n_pixels > max_pixels:
        raise DataError(
            f"{name} must have images of at most max_pixels = {max_pixels} pixels, got {n_pixels}; "
            "make them smaller or raise preprocess.max_pixels"
        )
    n_bytes = math.prod(shape[1:]) * dtype.itemsize
    if n_bytes > IMAGE_BYTES:
        raise DataError(
            f"{name} must have images of at most {IMAGE_BYTES} bytes, got {n_bytes} of {dtype}; "
            "make them smaller or convert the array to uint8"
        )
    if dtype.kind not in "uifb":
        raise DataError(f"{name} must hold numbers as images, got {dtype}; convert the array to uint8")
    return axis


def to_uint8(values: np.ndarray, name: str, brightest: int | None = None) -> UInt8[np.ndarray, "..."]:
    """Return values as whole numbers from 0 to 255 by the rules of :class:`ArrayFile`.

    Args:
        values: as they are in the file.
        name: of the array.
        brightest: of 16-bit values, as in ``preprocess``.

    Raises:
        DataError: a value lies outside the range of its type.
    """
    if values.dtype == np.uint8:
        return values
    pixels = np.empty(values.shape, np.uint8)
    source, target = values.reshape(-1), pixels.reshape(-1)
    for start in range(0, len(source), _PIECE):  # the steps between take up to eight times the room
        target[start : start + _PIECE] = _some_to_uint8(source[start : start + _PIECE], name, brightest)
    return pixels


def _some_to_uint8(values: np.ndarray, name: str, brightest: int | None) -> UInt8[np.ndarray, " pixel"]:
    if values.dtype == bool:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind == "f":
        is_right = (values >= -_HAIR) & (values <= 1 + _HAIR)
        if not is_right.all():  # also refuses NaN
            worst = values[~is_right].flat[0]
            advice = "rescale the array"
            if not np.isfinite(worst):
                advice = (
                    "a value is missing there or a computation failed; put numbers in its place or leave the image out"
                )
            raise DataError(f"{name}: floating-point pixels must lie within 0 and 1, got {worst}; {advice}")
        return np.floor(values.clip(0, 1).astype(np.float64) * 255 + 0.5).astype(np.uint8)
    if has_16_bits(values):
        return eight_bits(values, brightest)
    if ((values < 0) | (values > 255)).any():
        worst = values[(values < 0) | (values > 255)].flat[0]
        raise DataError(f"{name}: pixels of type {values.dtype} must lie within 0 and 255, got {worst}; use uint8")
    return values.astype(np.uint8)


def _read_texts(array: ArrayRows, n_rows: int) -> list[str]:
    if n_rows * array.dtype.itemsize > LABEL_BYTES:
        raise labels_too_long(array.name)
    array.require_bounded()
    if array.dtype.kind != "O":
        return _as_texts(array.read(n_rows))
    texts: list[str] = []
    n_bytes = 0
    for start in range(0, n_rows, _LABELS_AT_ONCE):
        some = _as_texts(array.read(min(_LABELS_AT_ONCE, n_rows - start)))
        n_bytes += sum(map(len, some))
        if n_bytes > LABEL_BYTES or max(map(len, some)) > LONGEST_LABEL:
            raise labels_too_long(array.name)
        texts += some
    return texts


def _as_texts(values: np.ndarray) -> list[str]:
    values = values.reshape(-1)  # of a column, too
    return [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values.tolist()]
