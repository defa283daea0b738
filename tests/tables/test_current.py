"""``current/``: whoever reads the files there as they are sees one whole version, whatever is published meanwhile."""

import json
import os
import subprocess
import sys
from functools import partial
from itertools import pairwise
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.errors import ResourceError
from pipeline.tables import current, read
from pipeline.tables.current import STAMP, current_fault, current_file, write_current
from tests.tables.builders import cycle, make_ids, published_bench

_READER = """
import json, sys, time
import duckdb, pandas as pd, polars as pl

folder, last = sys.argv[1], int(sys.argv[2])
readers = {
    "duckdb": lambda: duckdb.sql(f"FROM read_parquet('{folder}/*.parquet')").df(),
    "polars": lambda: pl.read_parquet(f"{folder}/*.parquet").to_pandas(),
    "pandas": lambda: pd.read_parquet(folder),
}
seen = []
while not seen or seen[-1][1] < last:
    for name, read in readers.items():
        rows = read()
        (version,), (model,) = rows["version"].unique(), rows["model_version"].unique()
        assert rows.notna().all(axis=None)
        assert rows["image_id"].is_unique
        seen.append([name, int(version), model, len(rows)])
        if len(seen) == 3:
            print("ready", flush=True)
print(json.dumps(seen))
"""


@pytest.mark.no_cover  # again and again what other tests cover
@pytest.mark.parametrize("n_publishes", [15, pytest.param(100, marks=pytest.mark.soak)])
def test_plain_readers_while_versions_come_and_images_go(tmp_path: Path, n_publishes: int) -> None:
    bench, ids = published_bench(tmp_path)
    models = ["m-aaaaaaaaaaaa", "m-bbbbbbbbbbbb"]
    bench.write_model(models[1], {batch: [cycle(len(of), 4, 1), cycle(len(of), 3)] for batch, of in ids.items()}, ids)
    bench.history.write_current()
    expected = {1: (models[0], 80)}
    folder = current_file(bench.published).parent
    with subprocess.Popen(
        [sys.executable, "-c", _READER, str(folder), str(1 + n_publishes + n_publishes // 5)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ},
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
        for number in range(n_publishes):
            bench.publish(models[(number + 1) % 2], removed=frozenset(ids["train"][: number // 5]))
            changes = [lambda: None]
            if number % 5 == 4:
                changes.append(partial(bench.history.withdraw, frozenset(ids["train"][: number // 5 + 1])))
            for change in changes:
                change()
                served = bench.history.served()
                expected[served.version] = (served.model_version, served.n_images)
                bench.history.write_current()
            if len(changes) > 1:
                bench.history.purge_current()
        seen = json.loads(reader.stdout.read())
    assert len(seen) > 3
    for _, version, model, n_images in seen:
        assert expected[version] == (model, n_images)


def test_one_row_an_image_with_all_facets(tmp_path: Path) -> None:
    bench, ids = published_bench(tmp_path)
    bench.history.write_current()
    path = current_file(bench.published)
    assert [file.name for file in path.parent.iterdir()] == ["toy.parquet"]
    rows = duckdb.sql(f"FROM read_parquet('{path.parent}/*.parquet')").df()
    assert sorted(rows["image_id"]) == sorted([*ids["train"], *ids["test"]])
    for facet in (0, 1):
        names = ["cluster_uid", "group_uid", "confidence", "entropy", "typicality"]
        ours = rows[["image_id", *(f"facet_{facet}_{name}" for name in names)]].set_axis(["image_id", *names], axis=1)
        theirs = read("toy", f"facet_{facet}", columns=["image_id", *names], root=tmp_path)
        pd.testing.assert_frame_equal(
            ours.sort_values("image_id", ignore_index=True), theirs.sort_values("image_id", ignore_index=True)
        )
    images = read("toy", "images", root=tmp_path)
    assert dict(zip(rows["image_id"], rows["path"], strict=True)) == dict(
        zip(images["image_id"], images["path"], strict=True)
    )
    assert pl.read_parquet(path.parent).equals(pl.from_pandas(rows))


def test_it_is_written_once_a_version(tmp_path: Path) -> None:
    bench, _ = published_bench(tmp_path)
    bench.history.write_current()
    before = current_file(bench.published).stat()
    bench.history.write_current()
    assert current_file(bench.published).stat() == before
    assert current_fault(bench.published) == ""


def test_of_very_many_rows_an_added_batch_may_wait_but_neither_a_model_nor_a_removal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(current, "_MOST_AT_ONCE", 60)
    bench, ids = published_bench(tmp_path)
    bench.history.write_current()
    before = current_file(bench.published).read_bytes()
    new = make_ids(9, 100)
    bench.write_batch("b-1", new)
    assigned = bench.assign("b-1", "m-aaaaaaaaaaaa", new, [cycle(9, 4), cycle(9, 3)])
    bench.history.add_batches({"b-1": assigned}, bench.batches)
    bench.history.write_current(is_addition=True)
    assert current_file(bench.published).read_bytes() == before
    assert current_fault(bench.published) == ""
    bench.history.withdraw(frozenset(ids["train"][:1]))
    assert "must hold the images of the current version" in current_fault(bench.published)
    bench.history.write_current(is_addition=True)
    assert len(pq.read_table(current_file(bench.published))) == 80 + 9 - 1
    bench.write_model(
        "m-bbbbbbbbbbbb", {batch: [cycle(len(of), 4, 1), cycle(len(of), 3)] for batch, of in ids.items()}, ids
    )
    assigned = bench.assign("b-1", "m-bbbbbbbbbbbb", new, [cycle(9, 4), cycle(9, 3)])
    bench.publish("m-bbbbbbbbbbbb", {"b-1": assigned}, removed=frozenset(ids["train"][:1]))
    assert "must hold the images of the current version" in current_fault(bench.published)
    bench.history.write_current(is_addition=True)
    assert current_fault(bench.published) == ""


def test_a_reader_that_has_planned_its_query_finds_the_pages(tmp_path: Path) -> None:
    bench, ids = published_bench(tmp_path)
    bench.history.write_current()
    path = current_file(bench.published)
    planned, rows = pq.read_metadata(path), pq.read_table(path)
    for n_removed in (1, 2, 3):
        bench.history.withdraw(frozenset(ids["train"][:n_removed]))
        bench.history.write_current()
        assert pq.ParquetFile(path, metadata=planned).read().equals(rows)
        assert pq.read_table(path).num_rows == 80 - n_removed


def test_rows_of_earlier_versions_leave_for_good(tmp_path: Path) -> None:
    bench, ids = published_bench(tmp_path)
    bench.history.write_current()
    path = current_file(bench.published)
    planned = pq.read_metadata(path)
    bench.history.withdraw(frozenset(ids["train"][:1]))
    bench.history.write_current()
    now, rows = pq.read_metadata(path), pq.read_table(path)
    bench.history.purge_current()
    with pytest.raises((OSError, pa.ArrowException)):
        pq.ParquetFile(path, metadata=planned).read()
    assert pq.ParquetFile(path, metadata=now).read().equals(rows)  # of a reader of these rows the same holds as before
    assert current_fault(bench.published) == ""
    before = path.stat()
    bench.history.purge_current()
    assert path.stat() == before


def test_the_file_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current, "SECONDS_KEPT", 0.0)  # nothing is kept but what was just replaced
    bench, ids = published_bench(tmp_path)
    bench.history.write_current()
    path = current_file(bench.published)
    first = path.stat().st_size
    sizes = []
    for n_removed in range(1, 12):
        planned, rows = pq.read_metadata(path), pq.read_table(path)
        bench.history.withdraw(frozenset(ids["train"][:n_removed]))
        bench.history.write_current()
        sizes.append(path.stat().st_size)
        assert pq.ParquetFile(path, metadata=planned).read().equals(rows)
        assert pq.read_table(path).num_rows == 80 - n_removed
    assert max(sizes) < 4 * first
    assert any(after < before for before, after in pairwise(sizes))


def test_damage_is_found(tmp_path: Path) -> None:
    bench, _ = published_bench(tmp_path)
    assert current_fault(bench.published) == ""
    bench.history.write_current()
    path = current_file(bench.published)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert "must hold the images of the current version" in current_fault(bench.published)
    (bench.published / STAMP).unlink()
    bench.history.write_current()
    assert current_fault(bench.published) == ""


def test_a_full_disk_leaves_the_file_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench, ids = published_bench(tmp_path)
    bench.history.write_current()
    before = current_file(bench.published).read_bytes()
    bench.history.withdraw(frozenset(ids["train"][:1]))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(current, "write_beside", full)
    with pytest.raises(ResourceError, match="No space left"):
        write_current(bench.published)
    assert current_file(bench.published).read_bytes() == before
    assert not list(bench.published.glob(".*.tmp"))
