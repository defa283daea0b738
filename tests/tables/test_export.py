"""Results of queries as files, and text that spreadsheets would run."""

import csv
import json
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from pipeline.core.errors import ConfigError
from pipeline.tables import query
from pipeline.tables.export import write_export
from pipeline.tables.names import load_names, set_name
from tests.tables.builders import Bench, published_bench

MINTED = {"f0-c000": "m-a"}
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", '=cmd|" /C calc"!A0', "'=quoted", "''-twice"]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return published_bench(tmp_path_factory.mktemp("export"))[0]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".json"])
def test_rows_come_back_as_they_were(bench: Bench, tmp_path: Path, suffix: str) -> None:
    rows = query("toy", "FROM facet_0 ORDER BY image_id", root=bench.root, engine="arrow")
    path = tmp_path / "new" / f"rows{suffix}"
    write_export(rows, path)
    write_export(rows, path)
    read = {".csv": pl.read_csv, ".parquet": pl.read_parquet, ".json": pl.read_json}[suffix]
    found = read(path)
    assert found.columns == rows.column_names
    for name in ("image_id", "cluster_id", "confidence", "cluster_uid"):
        assert found[name].to_list() == pytest.approx(rows[name].to_pylist())
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_every_kind_of_value_has_a_form(bench: Bench, tmp_path: Path) -> None:
    sql = (
        "SELECT 1 AS a, [1, 2] AS l, {'x': 1} AS s, sum(100::HUGEINT) AS h, uuid() AS u, INTERVAL 1 DAY AS i, "
        "'x'::ENUM ('x') AS e, 'ab'::BLOB AS b, MAP {'a': 1} AS m, TIME '10:00:00' AS t, NULL AS n, 'nan'::FLOAT AS f"
    )
    rows = query("toy", sql, root=bench.root, engine="arrow")
    write_export(rows, tmp_path / "x.csv")
    (row,) = rows_of(tmp_path / "x.csv")
    assert (row["l"], row["s"], row["h"], row["e"], row["n"]) == ("[1, 2]", '{"x": 1}', "100", "x", "")
    write_export(rows, tmp_path / "x.json")
    (row,) = json.loads((tmp_path / "x.json").read_text())
    assert (row["l"], row["h"], row["n"], row["f"]) == ([1, 2], 100, None, None)
    with pytest.raises(ConfigError, match=r"a \.parquet file must be able to hold the columns, but .*cast"):
        write_export(rows, tmp_path / "x.parquet")
    assert not (tmp_path / "x.parquet").exists()
    write_export(rows.slice(0, 0), tmp_path / "x.json")
    assert json.loads((tmp_path / "x.json").read_text()) == []


@pytest.mark.parametrize("text", FORMULAS)
def test_a_spreadsheet_runs_no_text_of_an_export(bench: Bench, tmp_path: Path, text: str) -> None:
    quoted = text.replace("'", "''")
    column = text.replace('"', '""')
    sql = f"SELECT '{quoted}' AS t, -1 AS n, 2 AS \"{column}\""
    write_export(query("toy", sql, root=bench.root, engine="arrow"), tmp_path / "x.csv")
    (row,) = rows_of(tmp_path / "x.csv")
    assert row == {"t": f"'{text}", "n": "-1", f"'{text}": "2"}


@pytest.mark.parametrize("text", FORMULAS)
def test_a_spreadsheet_runs_no_name_of_a_cluster(tmp_path: Path, text: str) -> None:
    path = tmp_path / "toy.csv"
    set_name(path, "f0-c000", text, MINTED, note=text)
    (row,) = rows_of(path)
    assert row["name"] == row["note"] == f"'{text}"
    assert load_names(path, MINTED) == {"f0-c000": (text, text)}
    set_name(path, "f0-c000", "plain", MINTED, note="it's")
    assert path.read_text().splitlines()[1] == "f0-c000,plain,it's,m-a"


@pytest.mark.parametrize("text", ["a\x1b[31mb", "a\tb", "a\nb", "\x00", "a\u202eb", "a\udce9"])
def test_control_characters_are_no_name(tmp_path: Path, text: str) -> None:
    for texts in ((text, ""), ("fine", text)):
        with pytest.raises(ConfigError, match=r"a (name|note) is one line of text without control characters"):
            set_name(tmp_path / "toy.csv", "f0-c000", texts[0], MINTED, note=texts[1])
    assert not (tmp_path / "toy.csv").exists()


@pytest.mark.parametrize("name", ["x.txt", "x", "x.CSV.gz"])
def test_another_suffix_is_refused(bench: Bench, tmp_path: Path, name: str) -> None:
    rows = query("toy", "SELECT 1", root=bench.root, engine="arrow")
    with pytest.raises(ConfigError, match=r"an export ends in \.csv, \.parquet, \.json, got"):
        write_export(rows, tmp_path / name)


def test_a_folder_and_a_statement_without_rows_are_refused(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "x.csv").mkdir()
    with pytest.raises(ConfigError, match="an export is a file, got the folder"):
        write_export(query("toy", "SELECT 1", root=bench.root, engine="arrow"), tmp_path / "x.csv")
    with pytest.raises(ConfigError, match="needs a statement that gives rows"):
        write_export(pa.table({}), tmp_path / "y.csv")
