"""Questions to the published tables, beside the same question put to DuckDB or Arrow over the bare files."""

import tempfile
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from benchmarks import toy
from benchmarks.lines import Line, compare, report
from pipeline.tables import paths, query, read

_BATCH = 100_000


def measure(full: bool) -> list[Line]:
    """Time SQL and reading over half a million rows, or ten million."""
    n_rows, rounds = (10_000_000, 9) if full else (500_000, 7)
    with tempfile.TemporaryDirectory() as scratch:
        layout, _ = toy.publish_rows(Path(scratch), n_rows, _BATCH)
        root, files = layout.root, paths("toy", "facet_1", root=layout.root)
        (image_id,) = toy.make_ids(n_rows // 2, 1).astype(str)
        lines = []
        for name, sql in {
            "clusters counted": "SELECT cluster_uid, count(*) FROM {} GROUP BY 1",
            "one image looked up": "SELECT * FROM {} WHERE image_id = '" + image_id + "'",
        }.items():
            lines.append(
                compare(
                    f"{name}, {n_rows:,} rows",
                    lambda sql=sql: query("toy", sql.format("facet_1"), root=root, engine="arrow"),
                    lambda sql=sql: duckdb.connect().sql(sql.format(f"read_parquet({files})")).to_arrow_table(),
                    "DuckDB over the bare files",
                    rounds=rounds,
                )
            )
        columns = ["image_id", "cluster_uid", "confidence"]
        lines.append(
            compare(
                f"three columns read, {n_rows:,} rows",
                lambda: read("toy", "facet_1", columns=columns, root=root, engine="arrow"),
                lambda: [pq.read_table(file, columns=columns) for file in files],
                "Arrow over the bare files",
                rounds=rounds,
                items=n_rows,
            )
        )
    return lines


if __name__ == "__main__":
    report(measure)
