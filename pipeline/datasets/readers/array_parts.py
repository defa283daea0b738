"""Which arrays of a file hold images or rows, which of these are its test split, and which beside them label them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.config.sections import PreprocessParams
from pipeline.core.errors import DataError
from pipeline.datasets.readers.array_files import ArrayRows, could_be_rows
from pipeline.datasets.store.spec import Split

_IMAGES = "images"
_SPLITS: dict[str, Split] = {
    **dict.fromkeys(("train", "training", "val", "valid", "validation"), "train"),
    "test": "test",
}
"""What parts of data sets are called. Validation images are for those who train: they go to the training split."""

_FEATURES = ("features", "embeddings")
"""What arrays of rows are called, where there are others of two axes."""

_MEANT = {"images", "imgs", "x", "X", "data", *_FEATURES}
"""What else the arrays of images or rows are called, where there are others of their shape."""

_PART = re.compile(r"(.*?)(?:^|[/_.-])(train|training|val|valid|validation|test)(?:[/_.-]|$)(.*)", re.IGNORECASE)


@dataclass(frozen=True)
class ArrayPart:
    """One array of images, or of rows of numbers.

    Attributes:
        images: three or four axes; of rows, two.
        labels: arrays of as many numbers or texts: name of the factor to array.
        split: what the file calls it, None where it does not say.
    """

    images: ArrayRows
    labels: Mapping[str, ArrayRows]
    split: Split | None = None


def find_parts(arrays: Mapping[str, ArrayRows], location: str) -> list[ArrayPart]:
    """Return the array ``images``, or the only one with three or four axes, or one a split, in the file's order.

    Where none has so many, arrays of floats with two axes are rows: one called ``features`` or ``embeddings``, or the
    only one, or one a split.

    Splits are told by names: ``train_images``, ``x_train`` or ``train/x`` beside ``test_images``, ``x_test`` or
    ``test/x``. The labels of such an array have the same word in their names, as ``y_train`` and ``y_test``.

    Raises:
        DataError: there is no such array, or several that no name tells apart.
    """
    candidates = _candidates(arrays)
    if len(candidates) == 1:
        (images,) = candidates.values()
        labels = _labels(arrays, images)
        plain = {_plain(name): array for name, array in labels.items()}
        return [ArrayPart(images, plain if len(plain) == len(labels) else labels)]
    parts = _split_parts(arrays, candidates)
    if not parts:
        shapes = {name: array.shape for name, array in arrays.items()}
        raise DataError(
            f"{location} must hold an array {_IMAGES!r}, a single one with 3 or 4 axes, or one a split (train_images, "
            f"test_images), or rows of floats with 2 axes, got {shapes}; name the images {_IMAGES!r}, rows "
            f"{_FEATURES[0]!r}"
        )
    return parts


def require_one_shape(parts: Sequence[ArrayPart], params: PreprocessParams) -> None:
    """Check that the arrays of all splits become images of one size, or rows of one width.

    Raises:
        DataError: they do not.
    """
    shapes = {part.images.name: part.images.shape for part in parts}
    is_rows = all(len(shape) == 2 for shape in shapes.values())
    if len({shape[1:] for shape in shapes.values()}) > 1 and (is_rows or params.size is None):
        what, advice = ("rows", "save arrays of as many columns") if is_rows else ("images", "set preprocess.size")
        raise DataError(f"the {what} of all splits must agree in shape, got {shapes}; {advice}")


def _candidates(arrays: Mapping[str, ArrayRows]) -> dict[str, ArrayRows]:
    if _IMAGES in arrays:
        return {_IMAGES: arrays[_IMAGES]}
    pictures = {name: array for name, array in arrays.items() if len(array.shape) in (3, 4)}
    rows = {name: array for name, array in arrays.items() if could_be_rows(array)}
    return pictures or next(({name: rows[name]} for name in _FEATURES if name in rows), rows)


def _split_parts(arrays: Mapping[str, ArrayRows], candidates: Mapping[str, ArrayRows]) -> list[ArrayPart]:
    """Return the parts of a file all of whose images are named alike but for the split; none of any other file."""
    named = {name: _parse(name) for name in candidates}
    rests = {rest for _, rest in named.values()}
    wanted = rests if len(rests) == 1 else rests & _MEANT  # masks of the same shape may lie beside
    named = {name: parsed for name, parsed in named.items() if parsed[1] in wanted}
    if len(wanted) != 1 or not all(word for word, _ in named.values()):
        return []
    found: list[ArrayPart] = []
    for name, (word, _) in named.items():
        beside = {other: array for other, array in arrays.items() if _parse(other)[0] == word}
        labels = {_parse(other)[1]: array for other, array in _labels(beside, candidates[name]).items()}
        found.append(ArrayPart(candidates[name], labels, _SPLITS[word]))
    everywhere = set.intersection(*(set(part.labels) for part in found))
    return [ArrayPart(part.images, _only(part.labels, everywhere), part.split) for part in found]


def _parse(name: str) -> tuple[str, str]:
    """Return the word for a split in a name, empty without one, and the rest of the name."""
    found = _PART.fullmatch(name)
    if found is None:
        return "", name
    rest = "_".join(filter(None, (found[1], found[3])))
    return found[2].lower(), _plain(rest)


def _plain(name: str) -> str:
    """Return what a factor is called: arrays may lie in groups, and be called anything."""
    return re.sub(r"\W+", "_", name).strip("_")


def _labels(arrays: Mapping[str, ArrayRows], images: ArrayRows) -> dict[str, ArrayRows]:
    n_images = images.shape[0]
    return {
        name: array
        for name, array in arrays.items()
        if array.shape in ((n_images,), (n_images, 1)) and array.dtype.kind in "uiSUO" and array is not images
    }


def _only(labels: Mapping[str, ArrayRows], names: Sequence[str] | set[str]) -> dict[str, ArrayRows]:
    return {name: array for name, array in labels.items() if name in names}
