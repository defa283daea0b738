"""Hints in a prepared folder: ``hints.json``, what people said of a few images, by their rows in the stores.

Names of labels are not in it, nor is what leaves no trace in a model: a label that is called something else, lines in
another order or given twice, hints about images that were removed. So none of these trains a model anew.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int64

from pipeline.core.errors import DataError
from pipeline.core.storage import read_json, write_json
from pipeline.datasets.store.spec import Split

HINTS_FILE = "hints.json"

_SCHEMA = 1


@dataclass(frozen=True)
class PreparedHints:
    """What people said of some images of both splits.

    Attributes:
        rows: of every hinted image, in the store of its split.
        is_test: whether that is the test split.
        is_aside: whether what was said of it is kept from training, to judge by; always so in the test split.
        labels: of one image in one facet: its place among the hinted ones, the facet, a number of the label.
        pairs: of two images in one facet: their places, the facet, 1 where they are to be the same, else 0.
    """

    rows: Int64[np.ndarray, " hinted"]
    is_test: Bool[np.ndarray, " hinted"]
    is_aside: Bool[np.ndarray, " hinted"]
    labels: Int64[np.ndarray, "label 3"]
    pairs: Int64[np.ndarray, "pair 4"]

    @property
    def n_facets(self) -> int:
        """How many facets a model must have, at least."""
        return 1 + max([-1, *self.labels[:, 1].tolist(), *self.pairs[:, 2].tolist()])

    def rows_of(self, split: Split) -> Int64[np.ndarray, " _"]:
        """Return the rows of a split about which something was said, ascending."""
        return np.sort(self.rows[self.is_test == (split == "test")])

    def hinted(self, facet: int) -> Int64[np.ndarray, " _"]:
        """Return the places of the images about which something was said in one facet, ascending."""
        labelled, paired = self.labels[self.labels[:, 1] == facet], self.pairs[self.pairs[:, 2] == facet]
        return np.unique(np.concatenate([labelled[:, 0], paired[:, 0], paired[:, 1]]))

    def among(self, kept: Bool[np.ndarray, " hinted"]) -> "PreparedHints":
        """Return what was said of some of the images alone: of pairs, both must be among them."""
        place = np.cumsum(kept) - 1
        labels = self.labels[kept[self.labels[:, 0]]]
        pairs = self.pairs[kept[self.pairs[:, 0]] & kept[self.pairs[:, 1]]]
        labels[:, 0], pairs[:, :2] = place[labels[:, 0]], place[pairs[:, :2]]
        return PreparedHints(self.rows[kept], self.is_test[kept], self.is_aside[kept], labels, pairs)


def no_hints() -> PreparedHints:
    """Return the hints of an experiment about which nothing was said."""
    none = np.empty(0, np.int64)
    return PreparedHints(none, none.astype(bool), none.astype(bool), none.reshape(0, 3), none.reshape(0, 4))


def write_prepared_hints(folder: Path, hints: PreparedHints) -> None:
    """Write ``hints.json`` into a prepared folder."""
    images = {"row": hints.rows.tolist(), "test": hints.is_test.tolist(), "aside": hints.is_aside.tolist()}
    content = {"images": images, "labels": hints.labels.T.tolist(), "pairs": hints.pairs.T.tolist()}
    write_json(folder / HINTS_FILE, {"schema": _SCHEMA, **content})


def read_prepared_hints(folder: Path) -> PreparedHints:
    """Read ``hints.json`` of a prepared folder; one that an earlier release prepared has none, and no hints.

    Raises:
        DataError: it is damaged, or of another schema.
    """
    path = folder / HINTS_FILE
    if not path.exists():
        return no_hints()
    content = read_json(path)
    try:
        if content["schema"] != _SCHEMA:
            raise DataError(
                f"{path} must be of schema {_SCHEMA}, got {content['schema']!r}; run stage preprocess again"
            )
        return _parse(content)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(f"{path} must hold hints, but {error!r} is wrong with it; run stage preprocess again") from None


def _parse(content: dict) -> PreparedHints:
    images = content["images"]
    rows = np.array(images["row"], np.int64)
    is_test, is_aside = np.array(images["test"], bool), np.array(images["aside"], bool)
    labels, pairs = (
        np.array(content[name], np.int64).reshape(width, -1).T for name, width in (("labels", 3), ("pairs", 4))
    )
    places = np.concatenate([labels[:, 0], pairs[:, 0], pairs[:, 1]])
    if not len(rows) == len(is_test) == len(is_aside) or np.any((places < 0) | (places >= len(rows))):
        raise ValueError("places of images")
    return PreparedHints(rows, is_test, is_aside, labels, pairs)
