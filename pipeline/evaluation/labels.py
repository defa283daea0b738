"""Label factors in the order of the images that they belong to; evaluation is the only part that sees them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int, Shaped

from pipeline.datasets import ImageStore, read_labels
from pipeline.errors import DataError

UNKNOWN = -1


@dataclass(frozen=True)
class Factor:
    """One label factor of both splits.

    Attributes:
        train: class of every training image, 0 ≤ class < ``n_classes``; -1 where it is unknown.
        test: the same for the test images.
        values: the label value of every class, ascending.
    """

    train: Int[np.ndarray, " train_image"]
    test: Int[np.ndarray, " test_image"]
    values: Int[np.ndarray, " class"]

    @property
    def n_classes(self) -> int:
        """How many values occur in the two splits together."""
        return len(self.values)


def read_factors(prepared: Path, train: ImageStore, test: ImageStore) -> dict[str, Factor]:
    """Return the label factors that can be scored: labelled images in both splits, and at least two values.

    Args:
        prepared: output folder of stage preprocess.
        train: its training images.
        test: its test images.

    Raises:
        DataError: the labels are missing or damaged, or belong to other images.
    """
    on_test = _split_labels(prepared, "test", test)
    factors = {}
    for name, train_labels in _split_labels(prepared, "train", train).items():
        test_labels = on_test[name]
        values = np.unique(np.concatenate([train_labels, test_labels]))
        values = values[values >= 0]
        if len(values) > 1 and (train_labels >= 0).any() and (test_labels >= 0).any():
            factors[name] = Factor(_as_classes(train_labels, values), _as_classes(test_labels, values), values)
    return factors


def _split_labels(
    prepared: Path, split: Literal["train", "test"], store: ImageStore
) -> Mapping[str, Int[np.ndarray, " image"]]:
    labelled_ids, factors = read_labels(prepared, split)
    image_ids = store.image_ids()
    if len(labelled_ids) != len(image_ids):
        raise DataError(
            f"labels.parquet must have one row for each of the {len(image_ids)} images of {store.path}, "
            f"got {len(labelled_ids)}; run stage preprocess again"
        )
    rows = _rows_of(image_ids, labelled_ids, store.path)
    return {name: values[rows] for name, values in factors.items()}


def _rows_of(
    wanted: Shaped[np.ndarray, " image"], labelled: Shaped[np.ndarray, " image"], path: Path
) -> Int[np.ndarray, " image"]:
    if np.array_equal(wanted, labelled):
        return np.arange(len(wanted))
    order = np.argsort(labelled)
    rows = order[np.searchsorted(labelled, wanted, sorter=order).clip(max=len(order) - 1)]
    odd = np.flatnonzero(labelled[rows] != wanted)
    if len(odd):
        raise DataError(
            f"labels.parquet must name every image of {path}, but {wanted[odd[0]]} is missing; "
            "run stage preprocess again"
        )
    return rows


def _as_classes(labels: Int[np.ndarray, " image"], values: Int[np.ndarray, " class"]) -> Int[np.ndarray, " image"]:
    return np.where(labels >= 0, np.searchsorted(values, labels), UNKNOWN)
