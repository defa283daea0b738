"""Finding prepared images as people call them: by a file below the source, or by an id."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.errors import DataError
from pipeline.core.image_ids import LONG_ID, SHORT_ID
from pipeline.core.parquet import read_columns
from pipeline.datasets.readers.label_table import EndOfPath

_TEST = "test"
_SOURCE = ("train", _TEST)


@dataclass(frozen=True)
class FoundImage:
    """A prepared image.

    Attributes:
        image_id: its id.
        path: where it came from.
        is_test: whether it is in the test split, else in the training split.
        row: in the store of its split.
    """

    image_id: str
    path: str
    is_test: bool
    row: int


@dataclass(frozen=True)
class Found:
    """What was looked up.

    Attributes:
        images: by the name that was given.
        ambiguous: names that several images go by, and how many.
    """

    images: Mapping[str, FoundImage]
    ambiguous: Mapping[str, int]


def find_images(prepared: Path, names: Iterable[str]) -> Found:
    """Look names up in ``images.parquet`` of a prepared folder: ids, ids of earlier releases, and paths.

    A path may be longer than the one that is kept, or shorter, where one image alone ends in it; of a delivery's file
    and one of the source that have the same path, it is the source's.

    Raises:
        DataError: the table is missing or damaged.
    """
    wanted = list(dict.fromkeys(names))
    if not wanted:
        return Found({}, {})
    table = read_columns(prepared / "images.parquet", ("image_id", "batch_id", "path"))
    n_train = table.num_rows - len(_rows_in(table["batch_id"], [_TEST]))
    places = _by_id(table, wanted)
    places |= _by_path(table, [name for name in wanted if name not in places])
    images, ambiguous = {}, {}
    for name, found in places.items():
        if len(found) == 1:
            (place,) = found
            image_id, path = table["image_id"][place].as_py(), table["path"][place].as_py()
            images[name] = FoundImage(image_id, path, place >= n_train, place - n_train if place >= n_train else place)
        else:
            ambiguous[name] = len(found)
    return Found(images, ambiguous)


def _by_id(table: pa.Table, names: Sequence[str]) -> dict[str, list[int]]:
    """Return the places of images by their ids, where one of a release with shorter ids means the same image."""
    wanted: dict[str, list[str]] = {}
    for name in names:
        if name.startswith("i-"):
            wanted.setdefault(_short(name), []).append(name)
    if not wanted:
        return {}
    starts = pc.call_function("utf8_slice_codeunits", [table["image_id"]], pc.SliceOptions(0, SHORT_ID))
    found: dict[str, list[int]] = {}
    for place in _rows_in(starts, sorted({name[:SHORT_ID] for name in wanted})):
        image_id = table["image_id"][place].as_py()
        for name in wanted.get(_short(image_id), ()):
            if name == image_id or len(name) < LONG_ID or len(image_id) < LONG_ID:
                found.setdefault(name, []).append(place)
    return found


def _short(image_id: str) -> str:
    """Return an id as earlier releases wrote it: half of the hash, and the number of the copy."""
    return image_id if len(image_id) < LONG_ID else image_id[:SHORT_ID] + image_id[LONG_ID:]


def _by_path(table: pa.Table, names: Sequence[str]) -> dict[str, list[int]]:
    if not names:
        return {}
    found = _places(table, names)
    if len(found) < len(names):
        whole_path = EndOfPath(table["path"].to_pylist())  # takes memory for every image: only where it must
        meant = {name: path for name in names if name not in found and (path := whole_path(name))}
        of_paths = _places(table, list(meant.values()))
        found |= {name: of_paths[path] for name, path in meant.items()}
    for name, places in found.items():
        of_source = [place for place in places if table["batch_id"][place].as_py() in _SOURCE]
        found[name] = of_source if len(of_source) == 1 else places
    return found


def _places(table: pa.Table, paths: Sequence[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for place in _rows_in(table["path"], paths):
        found.setdefault(table["path"][place].as_py(), []).append(place)
    return found


def _rows_in(column: pa.ChunkedArray, values: Sequence[str]) -> list[int]:
    """Return the rows of a column of text that hold one of some values."""
    is_one = pc.call_function("is_in", [column], pc.SetLookupOptions(pa.array(values, pa.string())))
    return np.flatnonzero(is_one.to_numpy()).tolist()


def not_found(where: str, name: str, found: Found) -> DataError:
    """Return the error for a name that is not that of one image.

    Args:
        where: the name was given.
        name: as it was given.
        found: what was looked up.
    """
    if name in found.ambiguous:
        return DataError(
            f"{where} must name one image, got {name!r}, which {found.ambiguous[name]} images go by; give its id"
        )
    return DataError(
        f"{where} must name an image that is prepared, by its file below the source or by its id, got {name!r}; "
        "correct it, or look it up in table images (those of a delivery that has not joined the training are not "
        "prepared)"
    )
