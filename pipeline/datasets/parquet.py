"""Source ``parquet``: a column of image files' bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config.sections import PreprocessParams
from pipeline.datasets.decode_pool import decode_files
from pipeline.datasets.decode_worker import DecodeJob, Item
from pipeline.datasets.folder import blocks_of_files
from pipeline.datasets.location import beside, is_url, locate, open_location
from pipeline.datasets.own_labels import FOLDER, INSIDE, Labels, encode_labels, labels_of_rows
from pipeline.datasets.source import Block, FileList
from pipeline.datasets.transform import ImageTransform
from pipeline.errors import DataError
from pipeline.layout import Layout

_IMAGE = "image"
_ROWS = 64


class Parquet:
    """Images as bytes of PNG, JPEG, WebP, TIFF or BMP files in a column of a Parquet file or of a folder of such files.

    The column is called ``image`` or is the only one of bytes; it may also be a structure with a field ``bytes``.
    Labels come from a CSV with one line an image, or (``inside``) from the columns of whole numbers or texts beside it.
    """

    def __init__(self, params: PreprocessParams, layout: Layout) -> None:
        self._params = params
        self._location = locate(layout, params.path or "")
        if params.labels == FOLDER:
            raise DataError("labels: folder needs source folder, got a Parquet file; use a CSV, inside or null")

    def fetch(self) -> None:
        """Check that the files hold images.

        Raises:
            DataError: one is missing, damaged or has no column of images.
        """
        self.n_images()

    def fingerprint(self, files: FileList) -> dict[str, Any]:
        """Return size and hash of every file, and of the CSV."""
        value: dict[str, Any] = {"files": {part.rpartition("/")[2]: files.file(part) for part in self.parts}}
        return value if self._csv is None else {**value, "labels": files.file(self._csv)}

    def n_images(self) -> int:
        """Return the number of rows."""
        total = 0
        for part in self.parts:
            with open_parquet(part) as file:
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
            with open_parquet(part) as file:
                column = image_column(file, part)
                row = 0
                for batch in file.iter_batches(_ROWS, columns=[column]):
                    for value in batch.column(0).to_pylist():
                        data = value.get("bytes") if isinstance(value, dict) else value
                        yield f"{name}[{row}]", data or b""
                        row += 1

    def blocks(self) -> Iterator[Block]:
        """Yield all images in order, at model size, with hashes of the pixels at source size.

        Raises:
            DataError: a file is damaged, or images differ in shape where ``size`` or ``channels`` leaves the source's.
        """
        transform = ImageTransform.from_params(self._params)
        job = DecodeJob(None, self._params.max_pixels, transform, pixel_bytes=None, with_encoded=False)
        yield from blocks_of_files(decode_files(job, self.items(), workers=0), transform, self._labels, [])

    @cached_property
    def parts(self) -> list[str]:
        """The files, in the order of their names."""
        if is_url(self._location) or not Path(self._location).is_dir():
            return [self._location]
        parts = sorted(str(path) for path in Path(self._location).glob("*.parquet"))
        if not parts:
            raise DataError(f"{self._location} must hold files that end in .parquet, got none; correct the path")
        return parts

    @cached_property
    def _labels(self) -> Labels:
        if self._csv is not None:
            return labels_of_rows(self._csv, self.n_images())
        if self._params.labels != INSIDE:
            return Labels()
        tables: list[Any] = []
        for part in self.parts:
            with open_parquet(part) as file:
                columns = label_columns(file)
                tables.append(file.read(columns))
                if columns != tables[0].column_names or not columns:
                    raise DataError(
                        f"{part} must have the same columns of whole numbers or texts as the first file for "
                        f"labels: inside, got {columns}; use a CSV or null"
                    )
        table = pa.concat_tables(tables)
        texts = {name: [None if v is None else str(v) for v in table[name].to_pylist()] for name in table.column_names}
        return encode_labels(texts, self._location)

    @property
    def _csv(self) -> str | None:
        name = self._params.labels
        return None if name in (None, INSIDE) else beside(self._location, name)


@contextmanager
def open_parquet(location: str) -> Iterator[Any]:
    """Open a Parquet file of other people.

    Raises:
        DataError: it is missing or damaged.
    """
    try:
        with open_location(location) as file:
            yield pq.ParquetFile(file)
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{location} must be a complete Parquet file, but {reason}; write it again") from None


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
