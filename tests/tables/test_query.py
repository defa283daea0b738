import os
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import show
from pipeline.core.errors import ConfigError, DataError, PipelineError, ResourceError
from pipeline.table_format import schema
from pipeline.tables import paths, query, read
from tests.tables.builders import Bench, cycle, make_ids, published_bench

MODEL = "m-aaaaaaaaaaaa"


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    bench, _ = published_bench(tmp_path_factory.mktemp("query"))
    ids = make_ids(10, 100)
    bench.write_batch("b-1", ids)
    folder = bench.assign("b-1", MODEL, ids, [cycle(10, 4), cycle(10, 3)])
    bench.history.add_batches({"b-1": folder}, bench.batches)
    bench.history.set_name(bench.root / "names" / "toy.csv", "f0-c001", "zebra", "striped")
    return bench


def sql(bench, statement, **options):
    return query("toy", statement, root=bench.root, engine="arrow", **options).to_pylist()


TABLES = ("facet_0", "facet_1", "images", "clusters", "groups", "merges", "batches", "lineage", "quarantine")


@pytest.mark.parametrize("table", TABLES)
def test_duckdb_pandas_polars_and_arrow_read_the_same_rows(bench, table):
    files = paths("toy", table, root=bench.root)
    expected = read("toy", table, root=bench.root, engine="arrow").to_pylist()
    assert pl.read_parquet(files).to_dicts() == expected
    assert duckdb.read_parquet(files).to_arrow_table().to_pylist() == expected
    assert pa.concat_tables([pq.read_table(file) for file in files]).to_pylist() == expected
    frame = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
    pd.testing.assert_frame_equal(frame, read("toy", table, root=bench.root), check_dtype=False)
    # A statement without ORDER BY promises no order once names are joined in.
    named = [{name: row[name] for name in pq.read_schema(files[0]).names} for row in sql(bench, f"FROM {table}")]
    assert sorted(named, key=repr) == sorted(expected, key=repr)


def test_read_gives_a_data_frame_or_arrow_and_only_the_columns_asked_for(bench):
    frame = read("toy", "facet_1", columns=["image_id", "cluster_id"], root=bench.root)
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns) == ["image_id", "cluster_id"]
    assert frame["cluster_id"].dtype == np.int32
    assert read("toy", "quarantine", columns=["file"], root=bench.root, engine="arrow").schema.names == ["file"]


def test_old_versions_stay_readable(bench):
    assert len(read("toy", "facet_0", version=1, root=bench.root)) == 80
    assert sql(bench, "SELECT count(*) AS n FROM facet_0", version=1) == [{"n": 80}]
    assert len(paths("toy", "images", version=1, root=bench.root)) == 2


def test_human_names_are_joined_in(bench):
    rows = sql(bench, "SELECT cluster_uid, cluster_name, count(*) AS n FROM facet_0 GROUP BY ALL ORDER BY 1")
    assert rows[1] == {"cluster_uid": "f0-c001", "cluster_name": "zebra", "n": 23}
    assert {row["cluster_name"] for row in rows} == {"zebra", None}
    assert sql(bench, "SELECT name, note, facet FROM clusters WHERE name IS NOT NULL") == [
        {"name": "zebra", "note": "striped", "facet": 0}
    ]


def test_a_name_shows_without_publishing(bench):
    bench.history.set_name(bench.root / "names" / "toy.csv", "f1-c002", "circle")
    assert sql(bench, "SELECT DISTINCT cluster_name AS n FROM facet_1 WHERE cluster_id = 2") == [{"n": "circle"}]


def test_tables_can_be_joined_and_listed(bench):
    rows = sql(
        bench, "SELECT path, cluster_id FROM facet_0 JOIN images USING (image_id) WHERE position = 2 ORDER BY path"
    )
    assert rows == [{"path": f"{batch}/2.png", "cluster_id": 2} for batch in ("b-1", "test", "train")]
    assert {row["name"] for row in sql(bench, "SHOW TABLES")} >= set(TABLES)


def test_root_is_the_nearest_folder_with_the_experiment(bench, monkeypatch):
    deep = bench.root / "notebooks" / "deep"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert len(read("toy", "facet_0")) == 90
    assert len(paths("toy", "facet_0")) == 3
    assert query("toy", "SELECT count(*) AS n FROM images")["n"].tolist() == [90]
    with pytest.raises(DataError, match=f"{bench.root}/published/other must hold a published version"):
        paths("other", "facet_0")


@pytest.mark.parametrize(
    "ask",
    [
        lambda **where: read("toy", "facet_0", **where),
        lambda **where: paths("toy", "facet_0", **where),
        lambda **where: query("toy", "FROM images", **where),
        lambda **where: show.curves("toy", **where),
    ],
)
def test_outside_a_repository_root_is_asked_for(tmp_path, monkeypatch, ask):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=rf"found at or above {tmp_path}; name the repository by root="):
        ask()
    with pytest.raises(ConfigError, match=rf"root= must be a repository, .*, got '{tmp_path}'"):
        ask(root=tmp_path)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("", "must be a SQL statement, got an empty text"),
        (
            "selec 1",
            "must be SQL over the tables facet_0, facet_1, images.*, but Parser Error: syntax error at or near",
        ),
        ("SELECT nothing FROM facet_0", 'Binder Error: Referenced column "nothing" not found'),
        ("SELECT * FROM facet_9", "Catalog Error: Table with name facet_9 does not exist"),
        ("SELECT cluster_uid::INT FROM facet_0", "Conversion Error: Could not convert string 'f0-c000' to INT32"),
        ("SELECT * FROM 'gone.csv'", "gone.csv"),
        ("SELECT 1;; SELECT bad", "bad"),
    ],
)
def test_sql_errors_are_one_clear_line(bench, statement, message):
    with pytest.raises(PipelineError, match=message) as caught:
        sql(bench, statement)
    assert isinstance(caught.value, ConfigError | DataError)
    assert "\n" not in str(caught.value)
    assert "LINE 1" not in str(caught.value)


def test_variables_of_python_are_no_tables(bench):
    secret = pa.table({"a": [1]})  # noqa: F841
    with pytest.raises(ConfigError, match="secret does not exist"):
        sql(bench, "SELECT * FROM secret")


def test_unknown_table_column_version_and_experiment_are_named(bench, tmp_path):
    with pytest.raises(ConfigError, match=r"a table must be one of facet_0, facet_1, images, .*, got 'facet_2'"):
        read("toy", "facet_2", root=bench.root)
    with pytest.raises(ConfigError, match=r"a column of facet_0 must be one of image_id, .*, got 'colour'"):
        read("toy", "facet_0", columns=["colour"], root=bench.root)
    for version in (0, 3):
        with pytest.raises(ConfigError, match=f"newest 2, got {version}; leave it out"):
            paths("toy", "facet_0", version=version, root=bench.root)
    with pytest.raises(DataError, match="must hold a published version, got none; run facets rebuild other first"):
        read("other", "facet_0", root=bench.root)


def test_records_of_a_newer_schema_are_refused(tmp_path):
    bench, _ = published_bench(tmp_path)
    (bench.published / "manifest.json").write_text('{"schema": 99, "version": 1}')
    with pytest.raises(
        ResourceError, match=r"manifest.json must be of schema 1 or an older one, got 99, which a newer"
    ):
        read("toy", "facet_0", root=tmp_path)
    (bench.published / "manifest.json").write_text("[]")
    with pytest.raises(DataError, match="must hold a JSON object, got list"):
        read("toy", "facet_0", root=tmp_path)


def test_a_lost_part_is_named(tmp_path):
    bench, _ = published_bench(tmp_path)
    Path(paths("toy", "facet_0", root=tmp_path)[1]).unlink()
    for use in (lambda: read("toy", "facet_0", root=tmp_path), lambda: sql(bench, "SELECT * FROM facet_0")):
        with pytest.raises(DataError, match=r"facet_0.parquet is missing; run facets check --repair"):
            use()
    assert sql(bench, "SELECT count(*) AS n FROM facet_1") == [{"n": 80}]


def test_a_reader_whose_version_is_withdrawn_starts_again(tmp_path, monkeypatch):
    bench, _ = published_bench(tmp_path)
    gone = make_ids(1)[0]
    original = schema.table_schema
    from pipeline.tables.query import Snapshot

    files = Snapshot.files
    calls = []

    def files_then_removal(self, table):
        found = files(self, table)
        calls.append(self.version.version)
        if len(calls) == 1:
            bench.history.withdraw(frozenset([gone]))
        return found

    monkeypatch.setattr(Snapshot, "files", files_then_removal)
    frame = read("toy", "facet_0", root=tmp_path)
    assert calls[0] == 1
    assert calls[-1] == 2
    assert gone not in set(frame["image_id"])
    assert len(frame) == 79
    assert original is schema.table_schema


def test_responsibilities_of_some_batches_read_together_with_none_of_others(tmp_path):
    from pipeline.table_format.build import write_assignments
    from tests.tables.builders import make_facet

    bench, _ = published_bench(tmp_path)
    ids = make_ids(5, 100)
    bench.write_batch("b-1", ids)
    folder = tmp_path / "assigned"
    options = {"batch_id": "b-1", "model_version": MODEL, "n_facets": 2, "responsibilities": True}
    with write_assignments(folder, **options) as writer:
        writer.write(ids, [make_facet(cycle(5, k), responsibilities=k) for k in (4, 3)])
    bench.history.add_batches({"b-1": folder}, bench.batches)
    table = read("toy", "facet_1", root=tmp_path, engine="arrow")
    assert table["resp"].to_pylist() == [None] * 80 + [[0.5] * 3] * 5
    assert sql(bench, "SELECT len(resp) AS k, count(*) AS n FROM facet_0 GROUP BY ALL ORDER BY n")[0] == {
        "k": 4,
        "n": 5,
    }
    bench.history.withdraw(frozenset(ids[:1]))
    assert read("toy", "facet_1", root=tmp_path, engine="arrow")["resp"].to_pylist()[80:] == [[0.5] * 3] * 4
    assert bench.history.check() == []


def test_looking_up_an_image_reads_few_row_groups(tmp_path):
    n_images = 3 * schema.ROW_GROUP
    bench, ids = Bench(tmp_path), {"train": make_ids(n_images)}
    bench.write_model(MODEL, {"train": [cycle(n_images, 4), cycle(n_images, 3)]}, ids)
    bench.publish(MODEL)
    (file,) = paths("toy", "facet_0", root=tmp_path)
    wanted = ids["train"][schema.ROW_GROUP + 5]
    probe = duckdb.execute(
        f"SELECT bloom_filter_excludes FROM parquet_bloom_probe('{file}', 'image_id', '{wanted}')"
    ).fetchall()
    assert [excluded for (excluded,) in probe] == [True, False, True]
    assert len(sql(bench, f"SELECT * FROM facet_0 WHERE image_id = '{wanted}'")) == 1


def test_reading_starts_light(bench):
    program = (
        "import sys; from pipeline.tables import query; "
        f"query('toy', 'SELECT count(*) FROM facet_0', root={str(bench.root)!r}, engine='arrow'); "
        "heavy = {'torch', 'pandas', 'scipy', 'sklearn', 'fsspec', 'h5py'} & set(sys.modules); print(sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout == "[]\n"
