"""Label factors in the order of the images that they belong to; evaluation is the only part that sees them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from pipeline.datasets.store.hints import PreparedHints
from pipeline.datasets.store.images import ImageStore
from pipeline.datasets.store.labels import labels_of_store

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


def read_factors(
    prepared: Path, train: ImageStore, test: ImageStore, hints: PreparedHints | None = None
) -> dict[str, Factor]:
    """Return the label factors that can be scored: labelled images in both splits, and at least two values.

    Args:
        prepared: output folder of stage preprocess.
        train: its training images.
        test: its test images.
        hints: what people said of some images, whose labels count as unknown.

    Raises:
        DataError: the labels are missing or damaged, or belong to other images.
    """
    on_test = labels_of_store(prepared, "test", test)
    factors = {}
    for name, train_labels in labels_of_store(prepared, "train", train).items():
        test_labels = on_test[name]
        if hints is not None:
            train_labels[hints.rows_of("train")] = test_labels[hints.rows_of("test")] = UNKNOWN
        values = np.unique(np.concatenate([train_labels, test_labels]))
        values = values[values >= 0]
        if len(values) > 1 and (train_labels >= 0).any() and (test_labels >= 0).any():
            factors[name] = Factor(_as_classes(train_labels, values), _as_classes(test_labels, values), values)
    return factors


def _as_classes(labels: Int[np.ndarray, " image"], values: Int[np.ndarray, " class"]) -> Int[np.ndarray, " image"]:
    return np.where(labels >= 0, np.searchsorted(values, labels), UNKNOWN)
