"""Small things that several tests of the datasets need."""

from dataclasses import replace
from typing import Any

from pipeline.config.sections import PreprocessParams

_DIGITS = PreprocessParams(
    source="digits",
    path=None,
    factors=None,
    labels=None,
    size=None,
    fit="stretch",
    channels="source",
    test_fraction=0.25,
    split_seed=0,
    max_pixels=50_000_000,
)


def preprocess(**changes: Any) -> PreprocessParams:
    """Return the section ``preprocess`` with the given values instead of plain ones."""
    return replace(_DIGITS, **changes)
