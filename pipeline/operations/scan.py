"""Pinning a source's content, with the small tracked files that DVC expects beside it."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pipeline.config.sections import PreprocessParams
from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.core.storage import write_json
from pipeline.core.text import count_reasons
from pipeline.core.upgrades import SOURCE, read_record
from pipeline.datasets.prepare.quarantine import Account, read_account
from pipeline.operations.hint_lines import start_hint_files
from pipeline.operations.tracked import remember_tracked, require_lists


@dataclass(frozen=True)
class ScanResult:
    """What a source holds now, and whether it differs from what was pinned before.

    Attributes:
        pinned: content of ``data/sources/<exp>.json``.
        has_changed: whether it was another one before.
        reasons: why files of a folder are left out or cannot be opened, and how many; no image is decoded here.
        account: what became of the images when they were prepared last; None where the content has just changed.
    """

    pinned: dict[str, Any]
    has_changed: bool
    reasons: dict[str, int]
    account: Account | None


def scan_source(layout: Layout, params: PreprocessParams) -> ScanResult:
    """Pin the source of one experiment in ``data/sources/<exp>.json``.

    An experiment's lists of joined batches and removed images start empty here, and so do its files of hints.

    Raises:
        DataError: the source is missing, damaged or cannot be fetched.
    """
    from pipeline.datasets.prepare.manifest import scan

    before = None
    with suppress(DataError):  # a damaged one is written anew
        before = read_record(layout.source_manifest, SOURCE)
    require_lists(layout)
    refused: list[tuple[str, str]] = []
    pinned = scan(layout, params, refused)
    for path in (layout.joined, layout.removed):
        if not path.exists():
            write_json(path, [])
            remember_tracked(layout, path)
    start_hint_files(layout)
    if pinned != before:
        remember_tracked(layout, layout.source_manifest)
    has_changed = pinned != before
    return ScanResult(
        pinned=pinned,
        has_changed=has_changed,
        reasons=count_reasons(reason for _, reason in refused),
        account=None if has_changed else read_account(layout.prepared),
    )
