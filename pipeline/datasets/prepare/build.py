"""From a source and the joined batches to the prepared folder: ids, split, size, labels.

Memory is bounded by one block of images and about a hundred bytes an image; the folder appears whole or not at all.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.backbones.base import open_backbone
from pipeline.config.sections import PreprocessParams
from pipeline.core.errors import DataError
from pipeline.core.image_ids import ContentSet, parse_ids
from pipeline.core.layout import Layout
from pipeline.core.progress import Progress, progress
from pipeline.core.storage import atomic_dir
from pipeline.core.text import count_reasons
from pipeline.datasets.inputs.embedded import Embedded
from pipeline.datasets.inputs.feature_ranges import FeatureRanges
from pipeline.datasets.inputs.plain import Plain
from pipeline.datasets.inputs.prepared import RowKind
from pipeline.datasets.prepare.catalogue import TEST, TRAIN, Catalogue, Columns
from pipeline.datasets.prepare.hint_files import read_hint_files
from pipeline.datasets.prepare.hints import resolve_hints
from pipeline.datasets.prepare.id_list import read_id_list
from pipeline.datasets.prepare.manifest import require_pinned
from pipeline.datasets.prepare.quarantine import Account, write_quarantine_table
from pipeline.datasets.prepare.splits import Rows, write_splits
from pipeline.datasets.prepare.spool import Spool
from pipeline.datasets.prepare.tables import IMAGES_SCHEMA, write_images_table
from pipeline.datasets.readers.base import RowSource, Source, open_source
from pipeline.datasets.store.hints import write_prepared_hints
from pipeline.datasets.store.images import ImageStore
from pipeline.datasets.store.labels import write_labels
from pipeline.datasets.store.spec import Split

SPLITS: dict[Split, int] = {"train": TRAIN, "test": TEST}


def prepare_images(layout: Layout, params: PreprocessParams, tell: Callable[[str], None] = lambda _: None) -> Account:
    """Write ``data/prepared/<experiment>/`` from the pinned source, the joined batches and the list of removed images.

    The rows of a store are sorted by batch and id, so neither the order nor the names of source files matter. Images
    without a prescribed split are split by content (:func:`pipeline.datasets.prepare.catalogue.split_by_content`).

    Args:
        layout: of the experiment.
        params: its section ``preprocess``.
        tell: gets what became of hints, and which features are constant, in words, where there are any.

    Returns:
        What became of the images of the source.

    Raises:
        DataError: the weights of ``preprocess.features`` or the source are missing, the source is damaged or not
            the pinned one, a split would be empty, hints are wrong (see
            :func:`pipeline.datasets.prepare.hints.resolve_hints`), a list was changed meanwhile, or rows are all the
            same or fewer than their features.
        ResourceError: the disk cannot hold the result; nothing is left behind.
    """
    preparer = _open_preparer(layout, params)
    source = open_source(preparer.reading(params), layout)
    source.fetch()
    require_pinned(layout, params, source)
    lists, hints = _read_lists(layout), read_hint_files(layout)
    joined, removed = lists[0], ContentSet.of_ids(lists[1])
    n_source, n_joined = source.n_images(), sum(_count_shard(layout, batch) for batch in joined)
    with atomic_dir(layout.prepared) as folder, Spool(folder / "spool", n_source, n_joined) as spool:
        catalogue = Catalogue()
        noun = "row" if isinstance(source, RowSource) and source.row_width() is not None else "image"
        with progress(f"read {layout.experiment}", n_source, noun) as bar:
            found = _read_source(source, preparer, catalogue, spool, bar)
        rejected = found.rejected
        for batch in joined:
            _read_list(layout.batches / batch, catalogue)
        columns = catalogue.finish(params.test_fraction, params.split_seed)
        rows: Rows = {name: columns.rows(code, removed) for name, code in SPLITS.items()}
        account = _count(columns, rejected, removed)
        found.features.require_tall()
        if constant := found.features.require_different():
            tell(constant)
        _require_images(rows, params, account, noun)
        assert found.kind is not None
        shards = [layout.batches / batch / "shard.h5" for batch in joined]
        write_splits(folder, columns, rows, params, spool, found.kind, shards, noun)
        _write_labels(folder, columns, rows, source.class_names())
        _write_images(folder, columns, rows, joined)
        write_quarantine_table(folder / "quarantine.parquet", rejected, account)
        resolved, of_hints = resolve_hints(hints, folder, _WhyGone(columns, rejected, removed))
        write_prepared_hints(folder, resolved)
        if of_hints.n_hints:
            tell(of_hints.text)
        # DVC hashes them after the stage and would record what was not read.
        if (_read_lists(layout), read_hint_files(layout)) != (lists, hints):
            raise DataError(
                f"{layout.joined}, {layout.removed} and {layout.hints.parent} must stay as they are while images are "
                "prepared, but one was changed meanwhile; run again"
            )
    return account


def _open_preparer(layout: Layout, params: PreprocessParams) -> Plain | Embedded:
    if params.features is None:
        return Plain(params)
    return Embedded(params, open_backbone(params.features, layout.root))


def _read_lists(layout: Layout) -> tuple[list[str], list[str]]:
    return read_id_list(layout.joined), read_id_list(layout.removed)


@dataclass
class _Found:
    """What a source held.

    Attributes:
        rejected: (file, reason) of what cannot be used.
        kind: of all rows that were spooled; None where there are none.
        features: of rows of numbers.
    """

    rejected: list[tuple[str, str]] = field(default_factory=list)
    kind: RowKind | None = None
    features: FeatureRanges = field(default_factory=FeatureRanges)


def _read_source(
    source: Source, preparer: Plain | Embedded, catalogue: Catalogue, spool: Spool, bar: Progress
) -> _Found:
    found = _Found()
    for block in source.blocks():
        found.rejected += block.rejected
        bar.advance(len(block.rejected))
        if len(block.paths):
            catalogue.add(block.hashes, block.shapes[:, 1:], block.paths, block.labels, block.split)
            prepared = preparer.apply(block)
            if block.rows is not None:
                found.features.add(block.rows)
            spool.append(prepared.pack(), block.hashes)
            found.kind = prepared.kind
            bar.advance(len(block.paths))
    return found


def _count_shard(layout: Layout, batch: str) -> int:
    path = layout.batches / batch / "shard.h5"
    if not path.exists():
        raise DataError(
            f"{layout.joined} names the batch {batch}, but {path} is missing; restore it or take the id off the list"
        )
    with ImageStore(path) as shard:
        return shard.n_images


def _read_list(folder: Path, catalogue: Catalogue) -> None:
    """Record the images of a joined batch; their pixels stay where they are until the stores are written."""
    table = pq.read_table(folder / "images.parquet", schema=IMAGES_SCHEMA)
    sizes = np.stack([table["height"].to_numpy(), table["width"].to_numpy()], axis=1).astype(np.int32)
    with ImageStore(folder / "shard.h5") as shard:
        catalogue.add_joined(shard.image_ids().tolist(), sizes, table["path"].to_pylist())


def _count(columns: Columns, rejected: list[tuple[str, str]], removed: ContentSet) -> Account:
    is_source = columns.batch == 0
    is_removed = is_source & removed.has(columns.hashes)
    return Account(
        n_total=int(is_source.sum()) + len(rejected),
        reasons=count_reasons(reason for _, reason in rejected),
        copies=int((is_source & ~is_removed & (columns.copies > 1)).sum()),
        removed=int(is_removed.sum()),
    )


def _require_images(rows: Rows, params: PreprocessParams, account: Account, noun: str) -> None:
    if not any(map(len, rows.values())):
        raise DataError(
            f"a source must hold at least one usable {noun}, got none ({account.text}); put {noun}s there, or correct "
            "preprocess.path, include or exclude"
        )
    for name, places in rows.items():
        if not len(places):
            raise DataError(
                f"the {name} split needs at least one {noun}, got 0 with test_fraction {params.test_fraction} "
                f"({account.text}); provide more {noun}s or change test_fraction"
            )


class _WhyGone:
    """Tells why an image that somebody names is not prepared; looked up only where one is missing."""

    def __init__(self, columns: Columns, rejected: list[tuple[str, str]], removed: ContentSet) -> None:
        self._columns, self._rejected, self._removed = columns, rejected, removed
        self._known: dict[str, str] | None = None

    def __call__(self, name: str) -> str | None:
        with suppress(DataError):  # most names are no ids
            if self._removed.has(parse_ids([name])[0])[0]:
                return "was removed from the experiment"
        if self._known is None:
            rows = np.flatnonzero(self._removed.has(self._columns.hashes))
            gone: Any = self._columns.path.take(pa.array(rows)).to_pylist()
            self._known = {
                **dict.fromkeys((file for file, _ in self._rejected), "was set aside"),
                **dict.fromkeys(gone, "was removed from the experiment"),
            }
        return self._known.get(name)


def _write_images(folder: Path, columns: Columns, rows: Rows, joined: list[str]) -> None:
    places = np.concatenate(list(rows.values()))
    names = [np.array([name, *joined], "S14")[columns.batch[some]] for name, some in rows.items()]
    write_images_table(
        folder / "images.parquet",
        columns.image_ids(places),
        np.concatenate(names),
        columns.position[places],
        columns.path.take(pa.array(places)),
        columns.size[places],
    )


def _write_labels(folder: Path, columns: Columns, rows: Rows, class_names: dict[str, list[str]]) -> None:
    ids: Rows = {}
    labels: dict[Split, dict[str, np.ndarray]] = {}
    for name, places in rows.items():
        ids[name] = columns.image_ids(places)
        labels[name] = {factor: values[places] for factor, values in columns.labels.items()}
    write_labels(folder, ids, labels, class_names)
