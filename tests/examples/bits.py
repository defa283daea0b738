"""What a new source takes: this file in ``pipeline/datasets/readers/`` and one line in ``pipeline/config/sources.py``.

It reads text files of 8×8 images, a line of 64 zeros and ones each.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from pipeline.config.sections import PreprocessParams
from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.datasets.decoding.worker import DecodeJob
from pipeline.datasets.files.location import boundary, locate, open_location
from pipeline.datasets.readers.base import FileList
from pipeline.datasets.readers.block import Block, drawn_images
from pipeline.datasets.readers.own_labels import FoundLabels


class Bits:
    """Black and white images; see :class:`pipeline.datasets.readers.base.OwnSource` for what each method is for."""

    def __init__(self, params: PreprocessParams, layout: Layout) -> None:
        self._location = locate(layout, params.path or "")
        self._within = boundary(layout, self._location)

    def fetch(self) -> None:
        self.n_images()

    def fingerprint(self, files: FileList) -> dict[str, Any]:
        return {"file": files.file(self._location, self._within)}

    def n_images(self) -> int:
        return len(self._lines())

    def class_names(self) -> dict[str, list[str]]:
        return {}

    def blocks(self, job: DecodeJob | None = None, workers: int = 0) -> Iterator[Block]:
        lines = self._lines()
        pixels = np.array([[int(character) * 255 for character in line] for line in lines], np.uint8)
        yield Block(pixels.reshape(-1, 1, 8, 8), [f"line {number}" for number in range(1, len(lines) + 1)])

    def sample(self, most: int, job: DecodeJob) -> Iterator[Block]:
        return drawn_images(self.blocks(), self.n_images(), most)

    def possible_labels(self) -> FoundLabels:
        return FoundLabels(None)

    def _lines(self) -> list[str]:
        with open_location(self._location, self._within) as file:
            lines = file.read().decode("ascii", "replace").split()
        if not lines or any(len(line) != 64 or set(line) - {"0", "1"} for line in lines):
            raise DataError(f"{self._location} must have lines of 64 zeros and ones, got others; write it again")
        return lines
