"""Which columns of a Parquet file hold images, which labels, and what these say."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from pipeline.core.errors import DataError
from pipeline.core.text import reason_of
from pipeline.datasets.readers.own_labels import LONGEST_LABEL

_IMAGE = "image"
_HUGGING_FACE = b"huggingface"
_LONGEST_PATH = 4096
_MANY = 20  # values: of fewer, that all differ says little


def image_column(file: Any, location: str) -> str:
    """Return the name of the column that holds images.

    Raises:
        DataError: there is none, or there are several and none is called ``image``.
    """
    found = {field.name: field.type for field in file.schema_arrow if _holds_bytes(field.type)}
    if _IMAGE in found:
        return f"{_IMAGE}.bytes" if pa.types.is_struct(found[_IMAGE]) else _IMAGE
    if not found:
        columns = ", ".join(f"{field.name}: {field.type}" for field in file.schema_arrow)
        raise DataError(
            f"{location} must have one column of image files' bytes or one called {_IMAGE!r}, got bytes in [] of "
            f"{reason_of(columns)}; write each image's file into it as binary, or pass the folder that holds them; "
            "rows are lists of floats"
        )
    if len(found) != 1:
        raise DataError(
            f"{location} must have one column of image files' bytes or one called {_IMAGE!r}, "
            f"got bytes in {sorted(found)} of {file.schema_arrow.names}; rename the column"
        )
    ((name, kind),) = found.items()
    return f"{name}.bytes" if pa.types.is_struct(kind) else name


def holds_images(file: Any) -> bool:
    """Tell whether a column could hold images."""
    return any(_holds_bytes(field.type) for field in file.schema_arrow)


def image_columns(file: Any, location: str) -> list[str]:
    """Return the column of the images' bytes, and that of their paths where there is one."""
    column = image_column(file, location)
    name, _, within = column.partition(".")
    kind = file.schema_arrow.field(name).type if within else None
    has_paths = kind is not None and kind.get_field_index("path") >= 0 and pa.types.is_string(kind.field("path").type)
    return [column, f"{name}.path"] if has_paths else [column]


def label_columns(file: Any) -> list[str]:
    """Return the names of the columns of whole numbers or texts, also those that store each value once."""

    def could_be(kind: Any) -> bool:
        if pa.types.is_dictionary(kind):
            return could_be(kind.value_type)
        return pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)

    return [field.name for field in file.schema_arrow if could_be(field.type)]


def class_names(file: Any) -> dict[str, list[str]]:
    """Return the names of the classes that Hugging Face's datasets note in a file: column to names, in order."""
    try:
        noted = json.loads((file.schema_arrow.metadata or {}).get(_HUGGING_FACE, b"{}"))
        features = noted.get("info", {}).get("features", {})
        classes = {name: kind["names"] for name, kind in features.items() if kind.get("_type") == "ClassLabel"}
    except (ValueError, AttributeError, TypeError, KeyError, RecursionError):
        return {}  # whatever it is, it names no classes
    return {name: names for name, names in classes.items() if _are_texts(names)}


def values_and_paths(values: Any) -> Iterator[tuple[Any, str]]:
    """Yield the bytes of every row, and its path, empty where it has none that could be one."""
    if not pa.types.is_struct(values.type):
        yield from ((value, "") for value in values)
        return
    paths = values.field("path") if values.type.get_field_index("path") >= 0 else pa.nulls(len(values))
    for value, path in zip(values.field("bytes"), paths.to_pylist(), strict=True):
        yield value, path if path and len(path) <= _LONGEST_PATH else ""


def tells_all_apart(values: Sequence[str | None]) -> bool:
    """Tell whether a column holds ids or captions: of many values, more than half are the only one of their kind."""
    counts = Counter(value for value in values if value is not None)
    return len(counts) >= _MANY and 2 * sum(count == 1 for count in counts.values()) > counts.total()


def texts_of(column: Any, name: str, location: str, classes: Sequence[str] | None) -> list[str | None]:
    """Return a column's values as texts; those of a ClassLabel by name, None for a number that has none."""
    texts: list[str | None] = []
    for chunk in column.chunks:
        if classes is not None and pa.types.is_integer(chunk.type):
            names: dict[int | None, str] = dict(enumerate(classes))
            texts += [names.get(value) for value in chunk.to_pylist()]
            continue
        if not pa.types.is_dictionary(chunk.type):
            texts += [None if value is None else str(value) for value in chunk.to_pylist()]
            continue
        known = [None if value is None else str(value) for value in chunk.dictionary.to_pylist()]
        if any(text is not None and len(text) > LONGEST_LABEL for text in known):
            raise DataError(
                f"{location} must hold labels of at most {LONGEST_LABEL} characters, got a longer one in {name}; "
                "use short names, a CSV or null"
            )
        texts += [None if place is None else known[place] for place in chunk.indices.to_pylist()]
    return texts


def _holds_bytes(kind: Any) -> bool:
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _holds_bytes(kind.field(index).type)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _are_texts(names: Any) -> bool:
    return isinstance(names, list) and all(isinstance(name, str) and len(name) <= LONGEST_LABEL for name in names)
