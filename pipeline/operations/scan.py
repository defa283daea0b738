"""Pinning a source's content, with the small tracked files that DVC expects beside it."""

from dataclasses import dataclass
from typing import Any

from pipeline.config.sections import PreprocessParams
from pipeline.layout import Layout
from pipeline.storage import read_json, write_json


@dataclass(frozen=True)
class ScanResult:
    """What a source holds now, and whether it differs from what was pinned before."""

    pinned: dict[str, Any]
    has_changed: bool


def scan_source(layout: Layout, params: PreprocessParams) -> ScanResult:
    """Pin the source of one experiment in ``data/sources/<exp>.json``.

    An experiment's lists of joined batches and removed images start empty here.

    Raises:
        DataError: the source is missing, damaged or cannot be fetched.
    """
    from pipeline.datasets import scan

    before = read_json(layout.source_manifest) if layout.source_manifest.exists() else None
    pinned = scan(layout, params)
    for path in (layout.joined, layout.removed):
        if not path.exists():
            write_json(path, [])
    return ScanResult(pinned, pinned != before)
