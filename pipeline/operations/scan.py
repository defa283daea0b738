"""Pinning a source's content, with the small tracked files that DVC expects beside it."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pipeline.config.sections import PreprocessParams
from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.core.storage import write_json
from pipeline.core.upgrades import SOURCE, read_record
from pipeline.operations.tracked import remember_tracked, require_lists


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
    from pipeline.datasets.prepare.manifest import scan

    before = None
    with suppress(DataError):  # a damaged one is written anew
        before = read_record(layout.source_manifest, SOURCE)
    require_lists(layout)
    pinned = scan(layout, params)
    for path in (layout.joined, layout.removed):
        if not path.exists():
            write_json(path, [])
            remember_tracked(layout, path)
    if pinned != before:
        remember_tracked(layout, layout.source_manifest)
    return ScanResult(pinned, pinned != before)
