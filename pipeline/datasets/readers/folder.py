"""Source ``folder``: image files below a folder or URL, decoded in several processes."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from pipeline.config.sections import PreprocessParams
from pipeline.core.errors import DataError
from pipeline.core.image_ids import HASH_DTYPE
from pipeline.core.layout import Layout
from pipeline.datasets.decoding.decoded_file import DecodedFile
from pipeline.datasets.decoding.pool import decode_files
from pipeline.datasets.decoding.transform import ImageTransform
from pipeline.datasets.decoding.worker import DecodeJob, Item
from pipeline.datasets.files.location import beside, is_in_inbox, is_url, locate, storable
from pipeline.datasets.readers.base import FileList
from pipeline.datasets.readers.block import Block, drawn_places
from pipeline.datasets.readers.listing import Listing, list_folder
from pipeline.datasets.readers.own_labels import (
    FOLDER,
    INSIDE,
    FoundLabels,
    Labels,
    could_be_classes,
    find_tables,
    labels_of_files,
    labels_of_folders,
)
from pipeline.datasets.readers.patterns import Patterns
from pipeline.datasets.store.spec import describe_shape


class Folder:
    """Images of any size below a folder; files that are no usable images are rejected with a reason.

    Labels come from the folders' names (factor ``folder``) or from a table in the folder, one of
    whose columns names files.
    Images are transformed to model size where they are decoded, so pixels at source size never leave those processes.
    """

    def __init__(self, params: PreprocessParams, layout: Layout) -> None:
        self._params = params
        self._location = locate(layout, params.path or "")
        self._patterns = Patterns.of(params)
        if params.labels == INSIDE:
            raise DataError(
                "labels: inside needs a source that holds labels beside its images (tar, zip, parquet, npy or hdf5), "
                "got a folder; use folder, a CSV or null"
            )
        self._links = None if is_in_inbox(layout, self._location) else params.follow_links

    def fetch(self) -> None:
        """Check that the folder is there.

        Raises:
            DataError: it is missing or cannot be listed.
        """
        list_folder(self._location, self._patterns, follow=self._links is not None, links=self._links)

    def fingerprint(self, files: FileList) -> dict[str, Any]:
        """Return count, bytes and hash of all files; folders' names count where they are labels, and so does a CSV."""
        by_folder = self._params.labels == FOLDER
        if is_url(self._location):
            value = _fingerprint_remote(self._listing, files, with_parents=by_folder)
        else:
            value = files.folder(
                self._location, with_parents=by_folder, left_out=self._patterns.reason, links=self._links
            )
        return value if self._csv is None else {**value, "labels": files.file(self._csv)}

    def n_images(self) -> int:
        """Return the number of files that should be images."""
        return len(self._listing.names) + len(self._listing.rejected)

    def class_names(self) -> dict[str, list[str]]:
        """Return the classes' names: folders, or texts of the CSV."""
        return self._labels.class_names

    def blocks(self, job: DecodeJob | None = None, workers: int = 0) -> Iterator[Block]:
        """Yield all images in the order of their paths, with hashes of the pixels at source size.

        Raises:
            DataError: a remote file cannot be fetched, or images differ in shape after the job's transform.
        """
        listing = self._listing
        job = replace(job or prepared_size(self._params), root=listing.root)
        return read_files(job, listing.items(), workers, self._labels, listing.rejected)

    def sample(self, most: int, job: DecodeJob) -> Iterator[Block]:
        """Yield images drawn from the whole folder, entries that are no files among them."""
        listing = self._listing
        n_names = len(listing.names)
        places = drawn_places(self.n_images(), most)
        some = replace(listing, names=[listing.names[place] for place in places if place < n_names])
        rejected = [listing.rejected[place - n_names] for place in places if place >= n_names]
        return read_files(replace(job, root=some.root), some.items(), rejected=rejected)

    def names(self) -> list[str]:
        """Return the paths of all files that should be images."""
        return list(map(storable, self._listing.names))

    def possible_labels(self) -> FoundLabels:
        """Return the table that is there, or that folders could be classes."""
        listing, names = self._listing, self.names()
        found = FoundLabels(None) if listing.root is None else find_tables(listing.location, names)
        return replace(found, value=found.value or (FOLDER if could_be_classes(names) else None))

    @cached_property
    def _listing(self) -> Listing:
        return list_folder(self._location, self._patterns, follow=self._links is not None, links=self._links)

    @cached_property
    def _labels(self) -> Labels:
        names = self.names()
        if self._csv is not None:
            return labels_of_files(self._csv, names)
        return labels_of_folders(names) if self._params.labels == FOLDER else Labels()

    @property
    def _csv(self) -> str | None:
        name = self._params.labels
        return None if name in (None, FOLDER) else beside(f"{self._location.rstrip('/')}/", name)


def prepared_size(params: PreprocessParams) -> DecodeJob:
    """Return what preparation wants of every file: pixels at model size."""
    transform = ImageTransform.from_params(params)
    return DecodeJob(
        None, params.max_pixels, transform, pixel_bytes=None, with_encoded=False, brightest=params.brightest
    )


def read_files(
    job: DecodeJob,
    items: Iterable[Item],
    workers: int = 0,
    labels: Labels | None = None,
    rejected: Sequence[tuple[str, str]] = (),
) -> Iterator[Block]:
    """Decode files into blocks of some dozens.

    Args:
        job: what is wanted of every file.
        items: the files; may be a stream.
        workers: decoding processes; 0 means one a processor.
        labels: of all files in order, if there are any.
        rejected: entries that were refused before; they come first.

    Raises:
        DataError: two images differ in shape after the job's transform.
        ResourceError: see :func:`pipeline.datasets.decoding.pool.decode_files`.
    """
    start, first, labels = 0, None, labels or Labels()
    if rejected:
        yield Block([], [], labels.rows([]), rejected=rejected)
    for some in decode_files(job, items, workers):
        kept = [(row, file) for row, file in enumerate(some, start) if file.reason is None]
        start += len(some)
        if job.transform is not None:
            for _, file in kept:
                first = first or file
                _require_same_shape(job.transform, first, file)
        yield Block(
            images=[file.pixels for _, file in kept],
            paths=[storable(file.name) for _, file in kept],
            labels=labels.rows([row for row, _ in kept]),
            encoded=[file.encoded or b"" for _, file in kept] if job.with_encoded else None,
            rejected=[(storable(file.name), file.reason) for file in some if file.reason is not None],
            known_hashes=np.array([file.hash for _, file in kept], HASH_DTYPE),
            known_shapes=np.array([file.shape for _, file in kept], np.int32).reshape(-1, 3),
            peaks=np.array([file.peak for _, file in kept], np.int32),
            transparent=np.array([file.is_transparent for _, file in kept], bool),
        )


def _fingerprint_remote(listing: Listing, files: FileList, *, with_parents: bool) -> dict[str, Any]:
    entries = [(name, files.file(f"{listing.location.rstrip('/')}/{name}")) for name in listing.names]
    parents = [f" {name.split('/')[-2]}" if with_parents and "/" in name else "" for name in listing.names]
    lines = sorted(entry["sha256"] + parent for (_, entry), parent in zip(entries, parents, strict=True))
    return {
        "count": len(entries),
        "bytes": sum(entry["size"] for _, entry in entries),
        "root": hashlib.sha256("\n".join(lines).encode()).hexdigest(),
    }


def _require_same_shape(transform: ImageTransform, first: DecodedFile, file: DecodedFile) -> None:
    expected, found = transform.output_shape(first.shape), transform.output_shape(file.shape)
    if found != expected:
        raise DataError(
            f"images must agree in size and channels after preprocessing, but {first.name} is "
            f"{describe_shape(expected)} and {file.name} {describe_shape(found)}; "
            "set preprocess.size and preprocess.channels"
        )
