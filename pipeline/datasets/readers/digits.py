"""The 1,797 handwritten digits (8×8) that scikit-learn carries: real data without a download."""

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import numpy as np

from pipeline.config.sections import PreprocessParams
from pipeline.core.layout import Layout
from pipeline.datasets.readers.base import FileList
from pipeline.datasets.readers.block import Block

_LEVELS = 16  # pixels are whole numbers from 0 to 16


class Digits:
    """Source ``digits``: grey images 1×8×8, factor ``digit``, no split of its own."""

    def __init__(self, params: PreprocessParams, layout: Layout) -> None:
        del params, layout  # nothing to choose and nothing on disk

    def fetch(self) -> None:
        """Nothing to do: the images come with scikit-learn."""

    def fingerprint(self, files: FileList) -> dict[str, Any]:
        """Return package and version."""
        return {"package": "scikit-learn", "version": version("scikit-learn")}

    def n_images(self) -> int:
        """Return 1,797."""
        return 1797

    def class_names(self) -> dict[str, list[str]]:
        """Digits name themselves."""
        return {}

    def blocks(self) -> Iterator[Block]:
        """Yield all images as one block."""
        from sklearn.datasets import load_digits  # seconds of import, which a scan can do without

        bunch: Any = load_digits()
        images = np.rint(bunch.images * (255 / _LEVELS)).astype(np.uint8)[:, None]
        yield Block(
            images=images,
            paths=[f"digits[{row}]" for row in range(len(images))],
            labels={"digit": bunch.target.astype(np.int32)},
        )
