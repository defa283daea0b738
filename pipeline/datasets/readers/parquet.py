"""Source ``parquet``: a column of image files' bytes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config.sections import PreprocessParams
from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.core.memory import require_plenty
from pipeline.core.text import reason_of
from pipeline.datasets.decoding.worker import DecodeJob, Item
from pipeline.datasets.files.bounds import require_count, require_file_size, require_unpacked
from pipeline.datasets.files.location import beside, boundary, is_url, locate, open_location
from pipeline.datasets.readers.base import FileList
from pipeline.datasets.readers.block import Block
from pipeline.datasets.readers.folder import prepared_size, read_files
from pipeline.datasets.readers.own_labels import (
    FOLDER,
    INSIDE,
    LONGEST_LABEL,
    FoundLabels,
    Labels,
    encode_labels,
    labels_of_rows,
)
from pipeline.datasets.readers.parquet_pages import require_honest_pages
from pipeline.datasets.readers.shards import list_shards

_IMAGE = "image"
_ROWS = 64
_GROUP_BYTES, _AT_ONCE_BYTES = 2**28, 2**26


class Parquet:
    """Images as bytes of PNG, JPEG and other image files in a column of a Parquet file or of a folder of such files.

    The column is called ``image`` or is the only one of bytes; it may also be a structure with a field ``bytes``.
    Labels come from a CSV with one line an image, or (``inside``) from the columns of whole numbers or texts beside it.
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
            "files": {part.rpartition("/")[2]: files.file(part, self._within) for part in self.parts}
        }
        return value if self._csv is None else {**value, "labels": files.file(self._csv)}

    def n_images(self) -> int:
        """Return the number of rows."""
        total = 0
        for part in self.parts:
            with open_parquet(part, self._within) as file:
                image_column(file, part)
                total += file.metadata.num_rows
        return total

    def class_names(self) -> dict[str, list[str]]:
        """Return the classes' names where labels are texts."""
        return self._labels.class_names

    def items(self) -> Iterator[Item]:
        """Yield names and bytes of all rows; a row without bytes yields none."""
        for part in self.parts:
            name = part.rpartition("/")[2]
            with open_location(part, self._within) as raw, open_parquet(part, self._within) as file:
                self._n_bytes[part] = raw.seek(0, 2)
                column = image_column(file, part)
                row = n_unpacked = 0
                n_bytes = self._n_bytes[part]
                for group in range(file.num_row_groups):
                    _require_honest(raw, file, group, [column], part)
                    n_rows = _rows_at_once(file, group, column)
                    for batch in file.iter_batches(n_rows, row_groups=[group], columns=[column]):
                        values = batch.column(0)
                        for value in values.field("bytes") if pa.types.is_struct(values.type) else values:
                            data = _image_bytes(value, self._params.max_pixels)
                            n_unpacked += len(data) if isinstance(data, bytes) else 0
                            require_unpacked(part, n_unpacked, n_bytes)
                            yield f"{name}[{row}]", data
                            row += 1

    def blocks(self, job: DecodeJob | None = None, workers: int = 0) -> Iterator[Block]:
        """Yield all images in order, with hashes of the pixels at source size.

        Raises:
            DataError: a file is damaged, images that repeat grow beyond all measure, or images differ in shape after
                the job's transform.
        """
        n_unpacked = 0
        for block in read_files(job or prepared_size(self._params), self.items(), workers, self._labels):
            n_unpacked += int(block.shapes.prod(axis=1, dtype=np.int64).sum())
            require_unpacked(self._location, n_unpacked, sum(self._n_bytes.values()))
            yield block

    def sample(self, most: int, job: DecodeJob) -> Iterator[Block]:
        """Yield the first rows."""
        return read_files(job, islice(self.items(), most))

    def possible_labels(self) -> FoundLabels:
        """Return that there are columns beside the images."""
        with open_parquet(self.parts[0], self._within) as file:
            return FoundLabels(INSIDE if label_columns(file) else None)

    @cached_property
    def parts(self) -> list[str]:
        """The files, in the order of their names."""
        return list_shards(self._location, "parquet")

    @cached_property
    def _labels(self) -> Labels:
        if self._csv is not None:
            return labels_of_rows(self._csv, self.n_images())
        if self._params.labels != INSIDE:
            return Labels()
        tables: list[Any] = []
        for part in self.parts:
            with open_parquet(part, self._within) as file:
                columns = label_columns(file)
                texts = [name for name in columns if pa.types.is_string(file.schema_arrow.field(name).type)]
            # A text that stands in many rows is read once.
            with open_location(part, self._within) as raw, open_parquet(part, self._within, texts) as file:
                for group in range(file.num_row_groups):
                    _require_honest(raw, file, group, columns, part)
                tables.append(file.read(columns))
                if columns != tables[0].column_names or not columns:
                    raise DataError(
                        f"{part} must have the same columns of whole numbers or texts as the first file for "
                        f"labels: inside, got {columns}; use a CSV or null"
                    )
        table = pa.concat_tables(tables)
        return encode_labels(
            {name: _texts(table[name], name, self._location) for name in table.column_names}, self._location
        )

    @property
    def _csv(self) -> str | None:
        name = self._params.labels
        return None if name in (None, INSIDE) else beside(self._location, name)


@contextmanager
def open_parquet(location: str, within: str | None = None, dictionaries: Sequence[str] = ()) -> Iterator[Any]:
    """Open a Parquet file of other people.

    Args:
        location: path or URL.
        within: a folder above it that no link may lead out of.
        dictionaries: columns that are read as dictionaries.

    Raises:
        DataError: it is missing or damaged, or claims far more than it can hold.
    """
    try:
        with open_location(location, within) as file:
            opened = pq.ParquetFile(file, read_dictionary=list(dictionaries), pre_buffer=is_url(location))
            n_bytes = file.seek(0, 2)
            _require_bounded(opened.metadata, location, n_bytes)
            yield opened
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        require_plenty(f"reading {location}", error)
        raise DataError(f"{location} must be a complete Parquet file, but {reason_of(error)}; write it again") from None


def image_column(file: Any, location: str) -> str:
    """Return the name of the column that holds images.

    Raises:
        DataError: there is none, or there are several and none is called ``image``.
    """
    found = {field.name: field.type for field in file.schema_arrow if _holds_bytes(field.type)}
    if _IMAGE in found:
        return f"{_IMAGE}.bytes" if pa.types.is_struct(found[_IMAGE]) else _IMAGE
    if len(found) != 1:
        raise DataError(
            f"{location} must have one column of image files' bytes or one called {_IMAGE!r}, "
            f"got bytes in {sorted(found)} of {file.schema_arrow.names}; rename the column"
        )
    ((name, kind),) = found.items()
    return f"{name}.bytes" if pa.types.is_struct(kind) else name


def label_columns(file: Any) -> list[str]:
    """Return the names of the columns of whole numbers or texts."""
    return [
        field.name for field in file.schema_arrow if pa.types.is_integer(field.type) or pa.types.is_string(field.type)
    ]


def _holds_bytes(kind: Any) -> bool:
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _holds_bytes(kind.field(index).type)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _require_bounded(metadata: Any, location: str, n_bytes: int) -> None:
    n_rows = 0
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        n_rows += group.num_rows
        require_count(location, n_rows, n_bytes)
        for column in map(group.column, range(group.num_columns)):
            unpacked, most = column.total_uncompressed_size, max(_GROUP_BYTES, 100 * column.total_compressed_size)
            if column.physical_type == "BYTE_ARRAY" and unpacked > most:
                raise DataError(
                    f"{location} must have row groups that unpack to at most {most} bytes a column, got {unpacked}; "
                    "write it with smaller row groups"
                )
    if n_rows != metadata.num_rows:
        raise DataError(f"{location} must be a complete Parquet file, but it has {n_rows} of {metadata.num_rows} rows")


def _require_honest(raw: Any, file: Any, group: int, names: Sequence[str], location: str) -> None:
    for column in _columns(file, group, names):
        require_honest_pages(raw, column, location)


def _rows_at_once(file: Any, group: int, name: str) -> int:
    """Return how many rows may all be as long as the whole column: a value that repeats is stored once."""
    sizes = [column.total_uncompressed_size for column in _columns(file, group, [name])]
    return max(1, min(_ROWS, _AT_ONCE_BYTES // max([1, *sizes])))


def _columns(file: Any, group: int, names: Sequence[str]) -> list[Any]:
    found = file.metadata.row_group(group)
    columns = map(found.column, range(found.num_columns))
    return [column for column in columns if column.path_in_schema in names]


def _image_bytes(value: Any, max_pixels: int) -> bytes | DataError:
    data = value.as_buffer()
    if data is None:
        return b""
    try:
        require_file_size(data.size, max_pixels)
    except DataError as error:
        return error
    return data.to_pybytes()


def _texts(column: Any, name: str, location: str) -> list[str | None]:
    texts: list[str | None] = []
    for chunk in column.chunks:
        if not pa.types.is_dictionary(chunk.type):
            texts += [None if value is None else str(value) for value in chunk.to_pylist()]
            continue
        known = chunk.dictionary.to_pylist()
        if any(text is not None and len(text) > LONGEST_LABEL for text in known):
            raise DataError(
                f"{location} must hold labels of at most {LONGEST_LABEL} characters, got a longer one in {name}; "
                "use short names, a CSV or null"
            )
        texts += [None if place is None else known[place] for place in chunk.indices.to_pylist()]
    return texts
