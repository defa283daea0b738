"""Sources ``tar`` and ``zip``: image files in archives, as WebDataset writes them or as any folder is packed."""

import json
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.config.sections import PreprocessParams
from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.datasets.decoding.worker import DecodeJob, Item
from pipeline.datasets.files.bounds import require_file_size
from pipeline.datasets.files.location import beside, boundary, is_url, locate, storable
from pipeline.datasets.readers.archive_members import Member, archive_members
from pipeline.datasets.readers.base import FileList
from pipeline.datasets.readers.block import Block, drawn_places
from pipeline.datasets.readers.folder import prepared_size, read_files
from pipeline.datasets.readers.label_table import TABLES
from pipeline.datasets.readers.listing import is_meant
from pipeline.datasets.readers.own_labels import (
    FOLDER,
    INSIDE,
    LABEL_BYTES,
    LONGEST_LABEL,
    FoundLabels,
    Labels,
    could_be_classes,
    encode_labels,
    find_tables,
    labels_of_files,
    labels_of_folders,
    labels_too_long,
)
from pipeline.datasets.readers.patterns import Patterns
from pipeline.datasets.readers.shards import Shards, list_shards

_CLASS = "class"
_PUT_BESIDE = "a table of labels is read from beside it, put it there"
_SIDECAR_BYTES = 2**20


@dataclass
class _Contents:
    """What archives hold besides pixels.

    Attributes:
        names: of all images, below the root of their archive.
        shown: names that say the archive, too, where there are several.
        factors: what stands beside each image, if that was asked for.
        tables: names of tables that could hold labels.
        rejected: (name, reason) of what stands beside images and cannot be used, and of images that are left out.
    """

    names: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    factors: list[dict[str, str]] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    rejected: list[tuple[str, str]] = field(default_factory=list)


class Archive:
    """Image files in a tar or ZIP archive, in a folder of such archives, or in those of a pattern.

    ``shards-{0000..0099}.tar`` stands for a hundred. Labels come from the names of folders in the archive, from a CSV
    of the images' names, or (``inside``) from ``KEY.cls`` (factor ``class``) and ``KEY.json`` (its whole numbers and
    texts) beside ``KEY.png``. Archives are read from start to end, once for names and labels and once for images.
    """

    def __init__(self, params: PreprocessParams, layout: Layout) -> None:
        self._params = params
        self._location = locate(layout, params.path or "")
        self._patterns = Patterns.of(params)
        self._within = boundary(layout, self._location)

    def fetch(self) -> None:
        """Check that the archives are there and complete.

        Raises:
            DataError: one is missing or damaged.
        """
        self.n_images()

    def fingerprint(self, files: FileList) -> dict[str, Any]:
        """Return size and hash of every archive, and of the CSV."""
        value: dict[str, Any] = {
            "files": {shard.name: files.file(shard.location, self._within) for shard in self._shards.files}
        }
        return value if self._csv is None else {**value, "labels": files.file(self._csv)}

    def n_images(self) -> int:
        """Return the number of files that should be images, left out or not, or labels that cannot be used as these.

        Files beside the archives in a folder are among them.
        """
        return len(self._contents.names) + len(self._rejected)

    def class_names(self) -> dict[str, list[str]]:
        """Return the classes' names where labels are texts."""
        return self._labels.class_names

    def blocks(self, job: DecodeJob | None = None, workers: int = 0) -> Iterator[Block]:
        """Yield all images in order, with hashes of the pixels at source size.

        Raises:
            DataError: an archive is damaged, or images differ in shape after the job's transform.
        """
        job = job or prepared_size(self._params)
        return read_files(job, self._items(), workers, self._labels, self._rejected)

    def sample(self, most: int, job: DecodeJob) -> Iterator[Block]:
        """Yield images drawn from all archives, which are read to their end for it, but not decoded."""
        wanted = set(drawn_places(self.n_images(), most))
        rejected = [pair for place, pair in enumerate(self._rejected, len(self._contents.names)) if place in wanted]
        items = (item for place, item in enumerate(self._items()) if place in wanted)
        return read_files(job, items, rejected=rejected)

    def names(self) -> list[str]:
        """Return the paths of all files that should be images, with their archive where there are several."""
        return self._contents.shown

    def possible_labels(self) -> FoundLabels:
        """Return the table beside the archive, else that labels lie beside images, or that folders could be classes.

        A table in the archive is not read, and said to be there.
        """
        contents = self._read(with_factors=True)
        found = FoundLabels(None)
        if not is_url(self._location):
            found = find_tables(str(Path(self._location).parent), contents.shown)
        remarks = [*found.remarks, *(f"{name} lies in the archive; {_PUT_BESIDE}" for name in contents.tables)]
        value = found.value
        if value is None:
            try:
                value = INSIDE if encode_labels(_columns(contents.factors), self._location).values else None
            except DataError as error:
                remarks.append(f"what lies beside the images is not used as labels: {error}")
        return FoundLabels(value or (FOLDER if could_be_classes(contents.names) else None), tuple(remarks))

    @cached_property
    def _shards(self) -> Shards:
        return list_shards(self._location, self._params.source)

    @property
    def _rejected(self) -> list[tuple[str, str]]:
        return self._shards.rejected + self._contents.rejected

    @cached_property
    def _contents(self) -> _Contents:
        return self._read(with_factors=self._params.labels == INSIDE)

    @cached_property
    def _labels(self) -> Labels:
        contents, where = self._contents, self._location
        if self._csv is not None:
            return labels_of_files(self._csv, contents.shown)
        if self._params.labels == FOLDER:
            return labels_of_folders(contents.names)
        if self._params.labels != INSIDE:
            return Labels()
        columns = _columns(contents.factors)
        if not columns:
            raise DataError(
                f"{where} must hold .cls or .json files beside the images for labels: inside, got none with whole "
                "numbers or texts; use folder, a CSV or null"
            )
        return encode_labels(columns, where)

    @property
    def _csv(self) -> str | None:
        name = self._params.labels
        return None if name in (None, INSIDE, FOLDER) else beside(self._location, name)

    def _members(self) -> Iterator[tuple[str, Member]]:
        """Yield all files, each with a name that says the archive, too, where there are several."""
        shards = self._shards.files
        for shard in shards:
            prefix = f"{shard.name}/" if len(shards) > 1 else ""
            for member in archive_members(shard.location, self._within):
                yield prefix + member.name, member

    def _items(self) -> Iterator[Item]:
        for shown, member in self._members():
            if is_meant(member.name) and self._patterns.reason(shown) is None:
                yield shown, _image_bytes(member, self._params.max_pixels)

    def _read(self, *, with_factors: bool) -> _Contents:
        contents = _Contents()
        known: dict[str, dict[str, str]] = {}
        n_bytes = 0
        for shown, member in self._members():
            if is_meant(member.name) and (left_out := self._patterns.reason(shown)) is not None:
                contents.rejected.append((storable(shown), left_out))
            elif is_meant(member.name):
                contents.names.append(storable(member.name))
                contents.shown.append(storable(shown))
            elif posixpath.basename(member.name) in TABLES:
                contents.tables.append(storable(shown))
            elif with_factors:
                try:
                    factors = _read_factors(member)
                except DataError as error:
                    contents.rejected.append((storable(shown), str(error)))
                    continue
                n_bytes += sum(len(name) + len(text) for name, text in factors.items())
                if n_bytes > LABEL_BYTES:
                    raise labels_too_long(self._location)
                known.setdefault(_stem(storable(shown)), {}).update(factors)
        if with_factors:
            contents.factors = [known.get(_stem(name)) or known.get(_key(name), {}) for name in contents.shown]
        return contents


def _image_bytes(member: Member, max_pixels: int) -> bytes | DataError:
    if member.fault is not None:
        return DataError(member.fault)
    try:
        require_file_size(member.n_bytes, max_pixels)
    except DataError as error:
        return error
    return member.read()


def _read_factors(member: Member) -> dict[str, str]:
    """Return what a file beside an image says of it: nothing where it is none that could."""
    kind = member.name.rpartition(".")[2].lower()
    if kind not in ("cls", "json") or not is_meant(f"{_stem(member.name)}.png"):
        return {}
    if member.fault is not None:
        raise DataError(member.fault)
    if member.n_bytes > _SIDECAR_BYTES:
        raise DataError(f"has {member.n_bytes} bytes, more than the {_SIDECAR_BYTES} that labels need; shorten it")
    data = member.read()
    if isinstance(data, DataError):
        raise data
    try:
        text = data.decode("utf-8-sig")
        values: Any = {_CLASS: text.strip()} if kind == "cls" else json.loads(text)
    except (ValueError, RecursionError):
        raise DataError("is no label in UTF-8 or JSON; write it again") from None
    if not isinstance(values, dict):
        raise DataError("is no JSON object with a factor an entry; write it again")
    factors = {name: str(value) for name, value in values.items() if type(value) in (int, str)}
    if any(len(text) > LONGEST_LABEL for pair in factors.items() for text in pair):
        raise DataError(f"holds a label of more than {LONGEST_LABEL} characters; shorten it")
    return factors


def _columns(factors: list[dict[str, str]]) -> dict[str, list[str | None]]:
    names = sorted({name for some in factors for name in some})
    return {name: [some.get(name) for some in factors] for name in names}


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _key(name: str) -> str:
    """Return what WebDataset takes for the key: the name up to the first dot of its last part."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(".")[0]
