"""Source ``parquet``: a column of image files' bytes, or of lists of floats."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.config.sections import PreprocessParams
from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.datasets.decoding.worker import DecodeJob, Item
from pipeline.datasets.files.bounds import require_file_size, require_unpacked
from pipeline.datasets.files.location import beside, boundary, locate, open_location
from pipeline.datasets.readers.base import FileList
from pipeline.datasets.readers.block import Block, drawn_images, drawn_places
from pipeline.datasets.readers.folder import prepared_size, read_files
from pipeline.datasets.readers.own_labels import (
    FOLDER,
    INSIDE,
    FoundLabels,
    Labels,
    encode_labels,
    labels_of_rows,
)
from pipeline.datasets.readers.parquet_columns import (
    class_names,
    holds_images,
    image_column,
    image_columns,
    label_columns,
    tells_all_apart,
    texts_of,
    values_and_paths,
)
from pipeline.datasets.readers.parquet_file import filled_groups, leaf_columns, open_parquet, require_honest
from pipeline.datasets.readers.parquet_rows import first_width, row_blocks, row_column
from pipeline.datasets.readers.shards import Shards, list_shards

_ROWS = 64
_AT_ONCE_BYTES = 2**26


class Parquet:
    """Images or rows in a column of a Parquet file, or of a folder of such files.

    Images are bytes of PNG, JPEG and other image files; where no column has bytes, lists of floats are rows.
    The column is called ``image`` or is the only one of bytes; it may also be a structure with fields ``bytes`` and
    ``path``, as Hugging Face's datasets have it. Labels come from a CSV with one line an image, or (``inside``) from
    the columns of whole numbers or texts beside it whose values repeat; those of a ClassLabel have their names.
    """

    def __init__(self, params: PreprocessParams, layout: Layout) -> None:
        self._params = params
        self._location = locate(layout, params.path or "")
        self._within = boundary(layout, self._location)
        self._n_bytes: dict[str, int] = {}
        if params.labels == FOLDER:
            raise DataError(
                "labels: folder needs source folder, tar or zip, got a Parquet file; use a CSV, inside or null"
            )

    def fetch(self) -> None:
        """Check that the files hold images.

        Raises:
            DataError: one is missing, damaged or has no column of images.
        """
        self.n_images()

    def fingerprint(self, files: FileList) -> dict[str, Any]:
        """Return size and hash of every file, and of the CSV."""
        value: dict[str, Any] = {
            "files": {part.name: files.file(part.location, self._within) for part in self.shards.files}
        }
        return value if self._csv is None else {**value, "labels": files.file(self._csv)}

    def n_images(self) -> int:
        """Return the number of rows, and of other files in the folder."""
        return self._n_rows() + len(self.shards.rejected)

    def row_width(self) -> int | None:
        """Return how many numbers a row has; None where there are images."""
        return first_width(self.shards.files, self._within) if self._holds_rows else None

    def class_names(self) -> dict[str, list[str]]:
        """Return the classes' names where labels are texts."""
        return self._labels.class_names

    def items(self) -> Iterator[Item]:
        """Yield names and bytes of all rows; a row without bytes yields none."""
        for name, part in self.shards.files:
            with open_location(part, self._within) as raw, open_parquet(part, self._within) as file:
                self._n_bytes[part] = raw.seek(0, 2)
                columns = image_columns(file, part)
                row = n_unpacked = 0
                n_bytes = self._n_bytes[part]
                for group in filled_groups(file):
                    require_honest(raw, file, group, columns, part)
                    n_rows = _rows_at_once(file, group, columns)
                    for batch in file.iter_batches(n_rows, row_groups=[group], columns=columns):
                        for value, path in values_and_paths(batch.column(0)):
                            data = _image_bytes(value, self._params.max_pixels, path)
                            n_unpacked += len(data) if isinstance(data, bytes) else 0
                            require_unpacked(part, n_unpacked, n_bytes)
                            yield path or f"{name}[{row}]", data
                            row += 1

    def blocks(self, job: DecodeJob | None = None, workers: int = 0) -> Iterator[Block]:
        """Yield all images in order, with hashes of the pixels at source size.

        Raises:
            DataError: a file is damaged, images that repeat grow beyond all measure, or images differ in shape after
                the job's transform.
        """
        if self._holds_rows:
            yield from self._blocks_of_rows()
            return
        n_unpacked = 0
        job = job or prepared_size(self._params)
        for block in read_files(job, self.items(), workers, self._labels, self.shards.rejected):
            n_unpacked += int(block.shapes.prod(axis=1, dtype=np.int64).sum())
            require_unpacked(self._location, n_unpacked, sum(self._n_bytes.values()))
            yield block

    def sample(self, most: int, job: DecodeJob) -> Iterator[Block]:
        """Yield rows drawn from all files, which are read to their end for it, but not decoded."""
        if self._holds_rows:
            return drawn_images(self._blocks_of_rows(), self.n_images(), most)
        wanted = set(drawn_places(self.n_images(), most))
        n_rows = self._n_rows()
        rejected = [pair for place, pair in enumerate(self.shards.rejected, n_rows) if place in wanted]
        items = (item for row, item in enumerate(self.items()) if row in wanted)
        return read_files(job, items, rejected=rejected)

    def possible_labels(self) -> FoundLabels:
        """Return that there are columns beside the images whose values repeat."""
        with open_parquet(self.shards.files[0].location, self._within) as file:
            if not label_columns(file):
                return FoundLabels(None)
        try:
            columns, unlike = self._inside()
            encode_labels(columns, self._location)
        except DataError as error:
            return FoundLabels(None, (f"the columns beside the images are not used as labels: {error}",))
        remarks = tuple(f"column {name} is not used as a label: nearly all of its values differ" for name in unlike)
        return FoundLabels(INSIDE if columns else None, remarks)

    @cached_property
    def shards(self) -> Shards:
        """The files, in the order of their names."""
        return list_shards(self._location, "parquet")

    def _n_rows(self) -> int:
        total = 0
        for _, part in self.shards.files:
            with open_parquet(part, self._within) as file:
                if not self._holds_rows:
                    image_column(file, part)
                total += file.metadata.num_rows
        if not total:
            raise DataError(
                f"{self._location} must hold at least one row, got none; write it again or correct the path"
            )
        return total

    @cached_property
    def _holds_rows(self) -> bool:
        first = self.shards.files[0].location
        with open_parquet(first, self._within) as file:
            return not holds_images(file) and row_column(file, first) is not None

    def _blocks_of_rows(self) -> Iterator[Block]:
        start, rejected = 0, self.shards.rejected
        for block, is_usable in row_blocks(self.shards.files, self._within):
            labels = self._labels.rows((start + np.flatnonzero(is_usable)).tolist())
            yield replace(block, labels=labels, rejected=[*rejected, *block.rejected])
            start, rejected = start + len(is_usable), []

    @cached_property
    def _labels(self) -> Labels:
        if self._csv is not None:
            return labels_of_rows(self._csv, self._n_rows())
        if self._params.labels != INSIDE:
            return Labels()
        columns, unlike = self._inside()
        if not columns:
            raise DataError(
                f"{self._location} must have columns of whole numbers or texts whose values repeat for labels: inside, "
                f"got {unlike or 'none'}; use a CSV or null"
            )
        return encode_labels(columns, self._location)

    def _inside(self) -> tuple[dict[str, list[str | None]], list[str]]:
        """Return the columns of labels, and the names of those that tell every image apart."""
        found: dict[str, list[str | None]] = {}
        first: list[str] | None = None
        for _, part in self.shards.files:
            with open_parquet(part, self._within) as file:
                columns, names = label_columns(file), class_names(file)
                kinds = {name: file.schema_arrow.field(name).type for name in columns}
            texts = [n for n, kind in kinds.items() if pa.types.is_string(kind) or pa.types.is_large_string(kind)]
            # A text that stands in many rows is read once.
            with open_location(part, self._within) as raw, open_parquet(part, self._within, texts) as file:
                for group in filled_groups(file):
                    require_honest(raw, file, group, columns, part)
                table = file.read(columns)
            first = columns if first is None else first
            if columns != first or not columns:
                raise DataError(
                    f"{part} must have the same columns of whole numbers or texts as the first file for "
                    f"labels: inside, got {columns}; use a CSV or null"
                )
            for name in columns:
                found.setdefault(name, []).extend(texts_of(table[name], name, self._location, names.get(name)))
        unlike = [name for name, values in found.items() if tells_all_apart(values)]
        return {name: values for name, values in found.items() if name not in unlike}, unlike

    @property
    def _csv(self) -> str | None:
        name = self._params.labels
        return None if name in (None, INSIDE) else beside(self._location, name)


def _rows_at_once(file: Any, group: int, names: Sequence[str]) -> int:
    """Return how many rows may all be as long as the whole columns: a value that repeats is stored once."""
    sizes = [column.total_uncompressed_size for column in leaf_columns(file, group, names)]
    return max(1, min(_ROWS, _AT_ONCE_BYTES // max([1, *sizes])))


def _image_bytes(value: Any, max_pixels: int, path: str) -> bytes | DataError:
    data = value.as_buffer()
    if data is None:
        return (
            DataError("has no bytes, only the path of a file; pass the folder of these files instead") if path else b""
        )
    try:
        require_file_size(data.size, max_pixels)
    except DataError as error:
        return error
    return data.to_pybytes()
