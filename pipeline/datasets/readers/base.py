"""What a source of images is, and how one is found: by its name in the parameters, or by what lies at a path.

A source streams: it yields blocks of some hundreds of images and never holds all of them. Everything else (identity,
split, resizing, writing) is the business of whoever reads it, so a reader only reads.
:mod:`pipeline.config.sources` lists the readers.
"""

import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pipeline.config.lookup import look_up
from pipeline.config.sections import PreprocessParams
from pipeline.config.sources import FILE_SUFFIXES, SOURCES, source_of_file
from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.datasets.decoding.worker import DecodeJob
from pipeline.datasets.files.location import is_in_inbox, is_url, locate, unreadable
from pipeline.datasets.readers.block import Block
from pipeline.datasets.readers.own_labels import FoundLabels
from pipeline.datasets.readers.shards import is_pattern, source_of_folder

_FOLDER = next(source for source, kind in SOURCES.items() if kind.is_folder)


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

    def folder(
        self,
        path: str,
        *,
        with_parents: bool,
        left_out: Callable[[str], str | None] = lambda _: None,
        links: bool | None = None,
    ) -> dict[str, Any]:
        """Return ``{"count", "bytes", "root"}`` of a folder, without what is left out for a reason.

        File names count only as ``with_parents``. Links are followed as ``links`` says for a ``Root``.
        """
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


@runtime_checkable
class OwnSource(Source, Protocol):
    """A reader of a person's own images: these are delivered, and looked at for a first proposal, as well."""

    def blocks(self, job: DecodeJob | None = None, workers: int = 0) -> Iterator[Block]:
        """Yield all images in source order.

        Args:
            job: what is wanted of images that are decoded, their root apart; None is what the parameters say.
            workers: decoding processes; 0 means one a processor.

        Raises:
            DataError: the source as a whole is damaged; single bad images are rejected in the block instead.
        """
        ...

    def sample(self, most: int, job: DecodeJob) -> Iterator[Block]:
        """Yield some images drawn from the whole source (:func:`pipeline.datasets.readers.block.drawn_places`)."""
        ...

    def possible_labels(self) -> FoundLabels:
        """Return what ``preprocess.labels`` could be, and what is there but cannot be used."""
        ...


@runtime_checkable
class RowSource(OwnSource, Protocol):
    """A reader of files that may hold rows of numbers in place of images."""

    def row_width(self) -> int | None:
        """Return how many numbers a row has; None where there are images.

        Raises:
            DataError: the file is missing, damaged or holds neither.
        """
        ...


@runtime_checkable
class FileSource(OwnSource, Protocol):
    """A reader of images that are files with paths."""

    def names(self) -> list[str]:
        """Return the paths of all files that should be images, in source order."""
        ...


def open_source(params: PreprocessParams, layout: Layout) -> Source:
    """Return the reader that ``preprocess.source`` names; a reader's module is imported only when it is used."""
    return _reader(params.source)(params, layout)


def open_own(params: PreprocessParams, layout: Layout, location: str) -> OwnSource:
    """Return the reader of what lies at a path or URL, without labels.

    Args:
        params: of any experiment; only ``max_pixels``, ``include``, ``exclude`` and ``follow_links`` count.
        layout: relative paths start at its root.
        location: path or URL.

    Raises:
        DataError: see :func:`recognise`.
    """
    place = locate(layout, location)
    source = recognise(place, links=params.follow_links and not is_in_inbox(layout, place))
    chosen = {} if SOURCES[source].has_files else {"include": None, "exclude": None}
    follows = params.follow_links and SOURCES[source].is_folder
    own = replace(params, source=source, path=location, labels=None, factors=None, follow_links=follows, **chosen)
    return _reader(source)(own, layout)


def recognise(location: str, *, links: bool = False) -> str:
    """Return which source a path or URL is: by the ending of a file, by what a folder holds.

    A folder is of shards where all files below it are of one such source
    (:func:`pipeline.datasets.readers.shards.source_of_folder`).

    Args:
        location: path or URL.
        links: whether links are followed, as :class:`Root` has it.

    Raises:
        DataError: a local path is missing or cannot be looked at, or is a file of no known kind.
    """
    source = source_of_file(location)
    if is_url(location) or (source is not None and is_pattern(location)):
        return source or _FOLDER
    try:
        mode = Path(location).stat().st_mode
        if stat.S_ISDIR(mode):
            return source_of_folder(location, links=links) or _FOLDER
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{location} is missing; correct the path") from None
    except OSError as error:
        raise unreadable(location, error) from None
    if source is None or not stat.S_ISREG(mode):
        raise DataError(
            f"{location} must be a folder of images or end in {', '.join(FILE_SUFFIXES)}; "
            "put images into a folder and pass that"
        )
    return source


def _reader(source: str) -> Any:
    return look_up("pipeline.datasets.readers", SOURCES[source].reader)
