"""What a source of images is, and the registry of sources.

A source streams: it yields blocks of some hundreds of images and never holds all of them. Everything else (identity,
split, resizing, writing) is the business of :mod:`pipeline.datasets.prepare.build`, so a reader only reads.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int32, UInt8, UInt64

from pipeline.config.sections import PreprocessParams
from pipeline.core.layout import Layout
from pipeline.datasets.store.spec import Split

BLOCK_BYTES = 16 * 2**20
"""About how many bytes of pixels a block holds; readers choose the number of images by it."""

_BLOCK_IMAGES = 2**16
"""Names and ids of tiny images take more room than their pixels."""


@dataclass(frozen=True)
class Block:
    """Consecutive images of a source, at source size.

    Attributes:
        images: one array where all sizes agree, else a sequence of arrays ``channel height width``.
        paths: where each image came from, e.g. ``cats/17.png`` or ``train-images-idx3-ubyte[17]``; for people.
        labels: one array a label factor; -1 where an image has no label. The same factors in every block.
        split: the split that the source itself prescribes, or None.
        encoded: the undecoded bytes of each image where the source has them (files, byte columns).
        rejected: (file, reason) of images that could not be used; they are not among ``images``.
        hashes: content hash of each image (:func:`pipeline.datasets.store.identity.hash_images`) where the reader has
            computed it already; ``images`` may then be at model size.
        sizes: height and width of each image at the source, where ``hashes`` are given.
    """

    images: UInt8[np.ndarray, "image channel height width"] | Sequence[UInt8[np.ndarray, "_ _ _"]]
    paths: Sequence[str]
    labels: Mapping[str, Int32[np.ndarray, " image"]] = field(default_factory=dict)
    split: Split | None = None
    encoded: Sequence[bytes] | None = None
    rejected: Sequence[tuple[str, str]] = ()
    hashes: UInt64[np.ndarray, " image"] | None = None
    sizes: Int32[np.ndarray, "image 2"] | None = None


@runtime_checkable
class FileList(Protocol):
    """Size and SHA-256 of files, remembered by stat (see :mod:`pipeline.datasets.prepare.manifest`)."""

    def file(self, path: str, within: str | None = None) -> dict[str, Any]:
        """Return ``{"size", "sha256"}`` of a file's (unpacked) content.

        Args:
            path: local path or URL.
            within: a folder above it that no link may lead out of.
        """
        ...

    def folder(self, path: str, *, with_parents: bool) -> dict[str, Any]:
        """Return ``{"count", "bytes", "root"}`` of a folder; file names count only as ``with_parents``."""
        ...


@runtime_checkable
class Source(Protocol):
    """A reader of one kind of source; built by ``Reader(params, layout)`` without touching any file."""

    def fetch(self) -> None:
        """Make the source present (download, render); does nothing where it already is.

        Raises:
            DataError: it cannot be had; the message says how to provide it by hand.
        """
        ...

    def fingerprint(self, files: FileList) -> dict[str, Any]:
        """Return what pins the content, for ``data/sources/<experiment>.json``: equal content, equal value."""
        ...

    def n_images(self) -> int:
        """Return how many images ``blocks`` will yield or reject (for progress and the check of free space)."""
        ...

    def class_names(self) -> dict[str, list[str]]:
        """Return the names of the label values of each factor that has names; may be empty."""
        ...

    def blocks(self) -> Iterator[Block]:
        """Yield all images in source order.

        Raises:
            DataError: the source as a whole is damaged; single bad images are rejected in the block instead.
        """
        ...


_READERS = {
    "digits": ("digits", "Digits"),
    "mnist": ("mnist", "Mnist"),
    "svhn": ("svhn", "Svhn"),
    "shapes3d": ("shapes3d", "Shapes3d"),
    "scenes": ("scenes", "Scenes"),
    "folder": ("folder", "Folder"),
    "npy": ("arrays", "ArrayFile"),
    "hdf5": ("arrays", "ArrayFile"),
    "parquet": ("parquet", "Parquet"),
}


def open_source(params: PreprocessParams, layout: Layout) -> Source:
    """Return the reader that ``preprocess.source`` names; a reader's module is imported only when it is used."""
    module, name = _READERS[params.source]
    return getattr(import_module(f"pipeline.datasets.readers.{module}"), name)(params, layout)


def rows_per_block(image_bytes: int) -> int:
    """Return how many images of ``image_bytes`` each make a block."""
    return min(_BLOCK_IMAGES, max(1, BLOCK_BYTES // max(1, image_bytes)))
