"""A first experiment on rows of numbers: all settings are those of a preset."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32

from pipeline.config.parse import parse
from pipeline.config.sections import PreprocessParams
from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.core.text import count_reasons, set_aside, to_json
from pipeline.datasets.decoding.worker import DecodeJob
from pipeline.datasets.files.location import locate
from pipeline.datasets.inputs.feature_ranges import require_tall
from pipeline.datasets.readers.base import RowSource, open_own, recognise
from pipeline.datasets.readers.own_labels import FoundLabels
from pipeline.onboarding.preprocessing import Choice, why_labels, written_path
from pipeline.onboarding.variety import require_enough, require_variety

_MOST = 512


@dataclass(frozen=True)
class RowSample:
    """What was seen of a source of rows.

    Attributes:
        source: its name in ``preprocess.source``.
        n_rows: in the whole source, good or bad.
        rows: usable ones among those looked at.
        reasons: why others cannot be used, and how many.
        labels: what ``preprocess.labels`` could be.
    """

    source: str
    n_rows: int
    rows: Float32[np.ndarray, "row 1 1 feature"]
    reasons: dict[str, int]
    labels: FoundLabels

    @property
    def n_seen(self) -> int:
        """How many rows were looked at, good and bad."""
        return len(self.rows) + sum(self.reasons.values())

    @property
    def n_usable(self) -> int:
        """How many rows of the whole source can be used, if those not looked at are like the others."""
        return round(self.n_rows * len(self.rows) / self.n_seen)

    def choose_preprocess(self, layout: Layout, location: str) -> dict[str, Choice]:
        """Return what rows decide of the section ``preprocess``."""
        n_features = self.rows.shape[-1]
        return {
            "source": (self.source, f"{self.n_rows:,} rows of {n_features:,} numbers"),
            "path": (to_json(written_path(layout, location)), "a path below the repository, an absolute one, or a URL"),
            "labels": (self.labels.value or "null", why_labels(self.labels)),
        }

    @property
    def notes(self) -> list[str]:
        """What a person should look at, one sentence each."""
        looked = f"looked at {self.n_seen:,} of {self.n_rows:,} rows of {self.rows.shape[-1]:,} numbers"
        return [looked, f"of those looked at, {set_aside(self.n_seen, self.reasons)}", *self.labels.remarks]


def take_rows(layout: Layout, usual: Mapping[str, Any], location: str) -> RowSample | None:
    """Look at some hundred rows of whatever lies at a path or URL; None where it holds images.

    Args:
        layout: relative paths start at its root.
        usual: the section ``preprocess`` of a preset.
        location: path or URL.

    Raises:
        DataError: there is nothing there, no row is usable, there are fewer rows than features or too few of them, or
            nearly all are the same.
    """
    source = recognise(locate(layout, location))
    own = parse(PreprocessParams, {**usual, "source": source, "path": location}, "preprocess")
    reader = open_own(own, layout, location)
    if not isinstance(reader, RowSource) or (width := reader.row_width()) is None:
        return None
    require_tall(reader.n_images(), width)
    job = DecodeJob(None, own.max_pixels, None, pixel_bytes=None, with_encoded=False)
    blocks = list(reader.sample(_MOST, job))
    found = [np.empty((0, 1, 1, width), np.float32), *(block.rows for block in blocks if block.rows is not None)]
    reasons = count_reasons(reason for block in blocks for _, reason in block.rejected)
    sample = RowSample(source, reader.n_images(), np.concatenate(found), reasons, reader.possible_labels())
    if not len(sample.rows):
        raise DataError(
            f"{location} must hold usable rows, got none ({set_aside(sample.n_seen, reasons)}); correct the path"
        )
    require_enough(sample.n_usable, "row", location)
    require_variety(sample.rows, "row", location)
    return sample
