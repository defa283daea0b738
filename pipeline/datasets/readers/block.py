"""What readers yield: images by columns, some hundreds at a time."""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, Int32, Shaped, UInt8

from pipeline.datasets.store.identity import hash_images, hash_rows
from pipeline.datasets.store.spec import InputBlock, Split

Image = UInt8[np.ndarray, "_ _ _"]

BLOCK_BYTES = 16 * 2**20
"""About how many bytes of pixels a block holds; readers choose the number of images by it."""

_BLOCK_IMAGES = 2**16
"""Names and ids of tiny images take more room than their pixels."""


@dataclass(frozen=True)
class Block:
    """Consecutive images of a source: what every reader yields to preparation, deliveries and proposals.

    Attributes:
        images: one array where all sizes agree, else a sequence of arrays ``channel height width``; None for an image
            that is larger than was wanted. Of a source of rows of numbers, an array of float32, ``row 1 1 feature``.
        paths: where each image came from, e.g. ``cats/17.png`` or ``train-images-idx3-ubyte[17]``; for people.
        labels: one array a label factor; -1 where an image has no label. The same factors in every block.
        split: the split that the source itself prescribes, or None.
        encoded: the undecoded bytes of each image, where the source has them and they were wanted.
        rejected: (file, reason) of images that could not be used; they are not among ``images``.
        known_hashes: :attr:`hashes` where the reader has computed them; ``images`` may then be at another size.
        known_shapes: :attr:`shapes`, likewise.
        peaks: the largest value of each 16-bit image before it was scaled, -1 of other images; None where the reader
            has 8 bits alone.
        transparent: whether an image had pixels that were not opaque, and show white; None where the reader has none.
    """

    images: InputBlock | Sequence[Image | None]
    paths: Sequence[str]
    labels: Mapping[str, Int32[np.ndarray, " image"]] = field(default_factory=dict)
    split: Split | None = None
    encoded: Sequence[bytes] | None = None
    rejected: Sequence[tuple[str, str]] = ()
    known_hashes: Shaped[np.ndarray, " image"] | None = None
    known_shapes: Int32[np.ndarray, "image 3"] | None = None
    peaks: Int32[np.ndarray, " image"] | None = None
    transparent: Bool[np.ndarray, " image"] | None = None

    @cached_property
    def hashes(self) -> Shaped[np.ndarray, " image"]:
        """Content hash of each image at the source (:mod:`pipeline.datasets.store.identity`)."""
        if self.known_hashes is not None:
            return self.known_hashes
        return hash_images(self.pixels) if self.rows is None else hash_rows(self.rows)

    @cached_property
    def shapes(self) -> Int32[np.ndarray, "image 3"]:
        """Channel, height and width of each image at the source."""
        if self.known_shapes is not None:
            return self.known_shapes
        if isinstance(self.images, np.ndarray):
            return np.tile(np.array(self.images.shape[1:], np.int32), (len(self.images), 1))
        return np.array([image.shape for image in self.pixels], np.int32).reshape(-1, 3)

    @property
    def rows(self) -> Float32[np.ndarray, "row 1 1 feature"] | None:
        """The rows of a source of numbers; None where it has images."""
        return self.images if isinstance(self.images, np.ndarray) and self.images.dtype == np.float32 else None

    @property
    def pixels(self) -> UInt8[np.ndarray, "image channel height width"] | Sequence[Image]:
        """The images, where none is larger than was wanted."""
        if isinstance(self.images, np.ndarray):
            return self.images
        found = [image for image in self.images if image is not None]
        assert len(found) == len(self.images)
        return found

    def take(self, rows: Sequence[int]) -> "Block":
        """Return some of the images; what was rejected is left out."""
        images = self.images
        return Block(
            images=images[list(rows)] if isinstance(images, np.ndarray) else [images[row] for row in rows],
            paths=[self.paths[row] for row in rows],
            labels={name: values[list(rows)] for name, values in self.labels.items()},
            split=self.split,
            encoded=None if self.encoded is None else [self.encoded[row] for row in rows],
            known_hashes=self.hashes[list(rows)],
            known_shapes=self.shapes[list(rows)],
            peaks=None if self.peaks is None else self.peaks[list(rows)],
            transparent=None if self.transparent is None else self.transparent[list(rows)],
        )


def drawn_places(n_images: int, most: int) -> list[int]:
    """Return the places of at most ``most`` images drawn from all of a source, in order, the same ones every time.

    The first images may all be of one kind, and so may every second one.
    """
    return sorted(random.Random(0).sample(range(n_images), min(most, n_images)))


def drawn_images(blocks: Iterable[Block], n_images: int, most: int) -> Iterator[Block]:
    """Yield at most ``most`` images drawn from all blocks of a source of ``n_images``, rejected ones among them."""
    wanted, start = drawn_places(n_images, most), 0
    for block in blocks:
        stop = start + len(block.paths) + len(block.rejected)
        yield block.take([place - start for place in wanted if start <= place < start + len(block.paths)])
        start = stop


def rows_per_block(image_bytes: int) -> int:
    """Return how many images of ``image_bytes`` each make a block."""
    return min(_BLOCK_IMAGES, max(1, BLOCK_BYTES // max(1, image_bytes)))
