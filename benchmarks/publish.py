"""A batch joins published tables, beside writing the same rows as plain Parquet files."""

import os
import tempfile
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks import toy
from benchmarks.lines import Line, line_of, report, time_of
from pipeline.core.layout import Layout
from pipeline.tables import History, paths
from pipeline.tables.current import STAMP, current_file

_BATCH = 10_000


def measure(full: bool) -> list[Line]:
    """Time ten thousand images that come in on top of half a million, or of ten million."""
    n_rows, rounds = (10_000_000, 9) if full else (500_000, 5)
    ours, floor = [], []
    with tempfile.TemporaryDirectory() as scratch:
        layout, version = toy.publish_rows(Path(scratch), n_rows, 100_000)
        for number in range(rounds + 1):
            ours.append(toy.add_rows(layout, version, [(n_rows + number * _BATCH, _BATCH)])[0])
            tables = [pq.read_table(paths("toy", name, root=layout.root)[-1]) for name in _TABLES]
            floor.append(time_of(lambda tables=tables: _write(tables, Path(scratch) / "plain.parquet")))
        currents = [_write_current(layout) for _ in range(rounds)]
        plain = pq.read_table(current_file(layout.published))
        plains = [time_of(lambda: _write([plain], Path(scratch) / "plain.parquet")) for _ in range(rounds)]
    name = f"{_BATCH:,} images onto {n_rows:,}"
    return [
        line_of(name, ours[1:], floor[1:], "plain Parquet files, synced", items=_BATCH),
        line_of(f"current/ of {plain.num_rows:,}", currents, plains, "the same rows, synced", items=plain.num_rows),
    ]


def _write_current(layout: Layout) -> float:
    """Write the plain file anew and return how long it took."""
    (layout.published / STAMP).unlink(missing_ok=True)
    return time_of(History(layout.published).write_current)


_TABLES = ("facet_0", "facet_1", "images")


def _write(tables: list, path: Path) -> None:
    for table in tables:
        pq.write_table(table, path)
        with path.open("rb") as file:
            os.fsync(file.fileno())


if __name__ == "__main__":
    report(measure)
