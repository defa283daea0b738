"""A query reads the published tables, and nothing else of the machine."""

import hashlib
from pathlib import Path
from unittest.mock import Mock

import duckdb
import fsspec
import pytest

from pipeline.core.errors import ConfigError, ResourceError
from pipeline.tables import paths, query, sql
from pipeline.tables.engine import connect
from tests.tables.builders import Bench, published_bench


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    bench, _ = published_bench(tmp_path_factory.mktemp("fence"))
    (bench.root / "own.csv").write_text("a\n1\n")
    return bench


def digests(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


LAST = "fffffe98d0963d27015c198262d97221"
"""Of the MD5 hashes of the numbers below 600,000."""

# {part} is a file that the query may read, {root} the folder above all published ones.
HOSTILE = [
    "COPY (SELECT 1) TO '{root}/published/toy/manifest.json'",
    "COPY facet_0 TO '{part}' (FORMAT parquet, USE_TMP_FILE false)",
    "FROM facet_0; COPY (SELECT 1) TO '{part}' (FORMAT csv, USE_TMP_FILE false)",
    "COPY (PIVOT facet_0 ON cluster_id USING count(*)) TO '{part}' (FORMAT csv, USE_TMP_FILE false)",
    "EXPLAIN ANALYZE COPY facet_0 TO '{part}' (FORMAT csv, USE_TMP_FILE false)",
    "/* */ explain /* */ analyze copy facet_0 to '{part}' (FORMAT csv, USE_TMP_FILE false)",
    "PREPARE p AS COPY facet_0 TO '{part}' (FORMAT csv, USE_TMP_FILE false); EXECUTE p",
    "COPY facet_0 TO '{root}/out.csv'",
    "EXPORT DATABASE '{root}/exported'",
    "ATTACH '{root}/new.duckdb'",
    "FROM read_csv('{root}/own.csv')",
    "FROM '{root}/own.csv'",
    "FROM read_text('/etc/hostname')",
    "FROM read_blob('{root}/published/toy/manifest.json')",
    "FROM glob('{root}/*')",
    "FROM facet_0, read_text('/proc/self/environ')",
    "INSTALL httpfs",
    "LOAD httpfs",
    "FROM read_parquet('https://127.0.0.1:9/x.parquet')",
    "SET enable_external_access = true",
    "SET memory_limit = '1TB'",
    "RESET ALL",
    "PRAGMA enable_profiling",
    "CALL enable_logging(storage = 'file', storage_path = '{root}/logs')",
    "CREATE PERSISTENT SECRET s (TYPE s3)",
    "CREATE TABLE t AS FROM read_csv('{root}/own.csv')",
]


@pytest.mark.parametrize("statement", HOSTILE)
def test_a_query_reaches_no_file_network_or_setting(bench: Bench, statement: str) -> None:
    before = digests(bench.root)
    sql = statement.format(root=bench.root, part=paths("toy", "facet_0", root=bench.root)[0])
    with pytest.raises(ConfigError, match=r"a query (reads|must be)") as caught:
        query("toy", sql, root=bench.root, engine="arrow")
    assert "\n" not in str(caught.value)
    assert digests(bench.root) == before


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("PIVOT (SELECT batch_id FROM facet_0) ON batch_id USING count(*)", [{"test": 20, "train": 60}]),
        ("CREATE TEMP TABLE t AS FROM facet_0; SELECT count(*) AS n FROM t", [{"n": 80}]),
        ("WITH f AS (FROM facet_0) SELECT count(*) AS n FROM f", [{"n": 80}]),
        ("DESCRIBE SELECT 1::INT AS copy", None),
        ("EXPLAIN ANALYZE FROM facet_0", None),
        ("SUMMARIZE facet_0", None),
    ],
)
def test_what_reads_may_be_asked(bench: Bench, sql: str, expected: list[dict[str, int]] | None) -> None:
    rows = query("toy", sql, root=bench.root, engine="arrow").to_pylist()
    assert rows == expected if expected else len(rows) >= 1


@pytest.mark.parametrize("sql", ["", " ;", "-- nothing"])
def test_no_statement_is_refused(bench: Bench, sql: str) -> None:
    with pytest.raises(ConfigError, match="a query must be a SQL statement, got "):
        query("toy", sql, root=bench.root)


@pytest.mark.parametrize("address", ["memory://fenced", "file://{root}"])
def test_tables_at_an_address_are_fenced_likewise(bench: Bench, address: str) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(bench.root / "published"), "/fenced/published", recursive=True)
    root = address.format(root=bench.root)
    assert query("toy", "SELECT count(*) AS n FROM facet_0", root=root, engine="arrow").to_pylist() == [{"n": 80}]
    for other in (f"FROM read_text('{root}/published/toy/manifest.json')", f"FROM read_csv('{bench.root}/own.csv')"):
        with pytest.raises(ConfigError, match=r"a query (reads|must be)"):
            query("toy", other, root=root)


TOO_MUCH = {
    "memory of the work": "SELECT list(range) FROM range(40_000_000)",
    "memory of the rows": "FROM range(40_000_000)",
    "disk": "SELECT md5(i::VARCHAR) || repeat('x', 200) AS a FROM range(600_000) t(i) ORDER BY a",
}


@pytest.mark.parametrize("lack", TOO_MUCH)
def test_a_query_takes_half_of_the_memory_and_of_the_disk_at_most(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lack: str
) -> None:
    """None of these statements would fail on a machine with some gigabytes."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(sql, "available_bytes", lambda: 2**27)
    if lack == "disk":
        monkeypatch.setattr("shutil.disk_usage", lambda _: Mock(free=2**24))
    (row,) = query(
        "toy",
        "SELECT current_setting('memory_limit') AS memory, current_setting('max_temp_directory_size') AS disk",
        root=bench.root,
        engine="arrow",
    ).to_pylist()
    assert row["memory"] == "64.0 MiB"
    assert (row["disk"] == "8.0 MiB") == (lack == "disk")
    with pytest.raises(ResourceError, match=r"^the query needs more memory or disk, got .*; select fewer") as caught:
        query("toy", TOO_MUCH[lack], root=bench.root)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("text", "kind"), [("boom", ConfigError), ("Out of Memory Error: x", ConfigError)])
def test_a_fault_after_the_first_rows_is_understood(bench: Bench, text: str, kind: type[Exception]) -> None:
    late = f"SELECT CASE WHEN range = 900_000 THEN error('{text}') END FROM range(1_000_000)"
    with pytest.raises(kind, match=f"a query must be SQL over the tables .*, but Invalid Input Error: {text}; mend"):
        query("toy", late, root=bench.root)


@pytest.mark.parametrize("fault", ["", "no memory", "no disk"])
def test_what_exceeds_the_memory_goes_to_the_disk(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fault: str
) -> None:
    options = {"memory_limit": "4MB" if fault == "no memory" else "24MB", "threads": 1}

    def small(temp_directory: str, **_: str) -> duckdb.DuckDBPyConnection:
        assert Path(temp_directory).parent == tmp_path
        if fault == "no disk":
            Path(temp_directory).rmdir()
            Path(temp_directory).touch()  # nothing can be written into it
        return connect(temp_directory=temp_directory, **options)

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(sql, "connect", small)
    large = "SELECT count(a) AS n, last(a) AS a FROM (SELECT md5(i::VARCHAR) AS a FROM range(600_000) t(i) ORDER BY a)"
    if not fault:
        assert query("toy", large, root=bench.root, engine="arrow").to_pylist() == [{"n": 600_000, "a": LAST}]
        assert list(tmp_path.iterdir()) == []
        return
    with pytest.raises(ResourceError, match=r"the query needs more (memory|disk)") as caught:
        query("toy", large, root=bench.root)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
