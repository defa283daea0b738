"""Reading a delivery of new images: a folder of files, an array file or a Parquet file, at source size."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pipeline.config.sections import PreprocessParams
from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.datasets.decoding.decoded_file import DecodedFile
from pipeline.datasets.decoding.pool import decode_files
from pipeline.datasets.decoding.worker import DecodeJob
from pipeline.datasets.files.location import is_in_inbox, is_url, locate, unreadable
from pipeline.datasets.readers.arrays import ArrayFile
from pipeline.datasets.readers.listing import list_folder
from pipeline.datasets.readers.parquet import Parquet
from pipeline.datasets.store.identity import hash_images

Kind = Literal["folder", "npy", "hdf5", "parquet"]

_KINDS: dict[str, Kind] = {"npy": "npy", "npz": "npy", "h5": "hdf5", "hdf5": "hdf5", "parquet": "parquet"}

_PIXEL_BYTES = 2**16
"""Larger images of files are kept as the files' bytes: pixels would take many times the space."""


@dataclass(frozen=True)
class Delivery:
    """What a person or program hands over at once.

    Attributes:
        location: path or URL.
        n_images: how many images are expected, good and bad.
        outcomes: the images in order, in lists of some dozens or hundreds; a refused one has a reason. It can be gone
            through once.
    """

    location: str
    n_images: int
    outcomes: Iterator[list[DecodedFile]]


def kind_of(location: str) -> Kind:
    """Return the kind of source that a path or URL holds, by its ending.

    Raises:
        DataError: a local path is missing or cannot be looked at, or is a file of no known kind.
    """
    kind = _KINDS.get(location.rpartition(".")[2].lower())
    if is_url(location):
        return kind or "folder"
    try:
        mode = Path(location).stat().st_mode
        if stat.S_ISDIR(mode):
            return "parquet" if _holds_parquet(location) else "folder"
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{location} is missing; correct the path") from None
    except OSError as error:
        raise unreadable(location, error) from None
    if kind is None or not stat.S_ISREG(mode):
        raise DataError(
            f"{location} must be a folder of images or end in {', '.join(f'.{ending}' for ending in _KINDS)}; "
            "put images into a folder and pass that"
        )
    return kind


def open_delivery(layout: Layout, params: PreprocessParams, location: str, workers: int) -> Delivery:
    """Look at a delivery, without decoding anything yet.

    Args:
        layout: relative paths start at its root.
        params: of the experiment; only ``max_pixels`` counts.
        location: path or URL.
        workers: decoding processes; 0 means one a processor.

    Raises:
        DataError: there is nothing there, or an array or Parquet file is damaged as a whole.
    """
    place = locate(layout, location)
    kind = kind_of(place)
    own = replace(params, source=kind, path=location, labels=None, factors=None)
    job = DecodeJob(None, params.max_pixels, transform=None, pixel_bytes=_PIXEL_BYTES, with_encoded=True)
    if kind == "folder":
        listing = list_folder(place, follow=not is_in_inbox(layout, place))
        outcomes = decode_files(replace(job, root=listing.root), listing.items(), workers)
        refused = [DecodedFile(name, reason) for name, reason in listing.rejected]
        return Delivery(place, len(listing.names) + len(refused), _after(refused, outcomes))
    if kind == "parquet":
        table = Parquet(own, layout)
        return Delivery(place, table.n_images(), table.outcomes(job, workers))
    array = ArrayFile(own, layout)
    return Delivery(place, array.n_images(), _of_array(array))


def _holds_parquet(folder: str) -> bool:
    with os.scandir(folder) as entries:
        return any(entry.name.endswith(".parquet") and entry.is_file(follow_symlinks=False) for entry in entries)


def _after(refused: list[DecodedFile], outcomes: Iterator[list[DecodedFile]]) -> Iterator[list[DecodedFile]]:
    if refused:
        yield refused
    yield from outcomes


def _of_array(array: ArrayFile) -> Iterator[list[DecodedFile]]:
    for block in array.blocks():
        hashes = hash_images(block.images).tolist()
        n_channels, height, width = block.images[0].shape
        yield [
            DecodedFile(name, None, content, (n_channels, height, width), pixels)
            for name, content, pixels in zip(block.paths, hashes, block.images, strict=True)
        ]
