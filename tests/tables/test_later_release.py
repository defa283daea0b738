"""A later release goes on with the tables of this one, and this one leaves alone what a later one published."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.errors import ResourceError
from pipeline.core.storage import read_json
from pipeline.core.upgrades import VERSION
from pipeline.table_format import schema
from pipeline.table_format.schema import FacetColumn
from pipeline.tables import draft, inventory, lists, parts, paths, query, read, restore, transaction, versions
from pipeline.tables.draft import load_identity
from pipeline.tables.place import Place
from pipeline.tables.versions import load_version
from tests.tables.builders import Bench, cycle, make_ids, published_bench

MODEL = "m-aaaaaaaaaaaa"
NEXT = schema.SCHEMA_VERSION + 1


def sql(bench: Bench, statement: str) -> list[dict]:
    return query("toy", statement, root=bench.root, engine="arrow").to_pylist()


MARGIN = FacetColumn(NEXT, "margin", pa.float32(), lambda facet: facet.confidence - facet.runner_up_confidence)


def later_release(monkeypatch):
    """Become the next release, which adds a column to images."""
    monkeypatch.setitem(
        schema._TABLES, "images", [*schema._TABLES["images"], schema._added(NEXT, "camera", pa.string())]
    )
    for module in (schema, parts, restore):
        monkeypatch.setattr(module, "SCHEMA_VERSION", NEXT)


def test_parts_of_two_schema_versions_read_together(tmp_path, monkeypatch):
    bench, _ = published_bench(tmp_path)
    later_release(monkeypatch)
    ids = make_ids(5, 100)
    bench.write_batch("b-2", ids)
    images = bench.batches / "b-2" / "images.parquet"
    pq.write_table(pq.read_table(images).append_column("camera", pa.array(["left"] * 5)), images)
    folder = bench.assign("b-2", MODEL, ids, [cycle(5, 4), cycle(5, 3)])
    bench.history.add_batches({"b-2": folder}, bench.batches)
    versions = {schema.schema_version(pq.read_schema(path).metadata) for path in paths("toy", "images", root=tmp_path)}
    assert versions == {NEXT - 1, NEXT}
    table = read("toy", "images", root=tmp_path, engine="arrow")
    assert table["camera"].to_pylist() == [None] * 80 + ["left"] * 5
    assert sql(bench, "SELECT camera, count(*) AS n FROM images GROUP BY ALL ORDER BY n") == [
        {"camera": "left", "n": 5},
        {"camera": None, "n": 80},
    ]
    assert bench.history.check() == []


def test_a_new_column_of_facets_is_one_declaration(tmp_path, monkeypatch):
    bench, _ = published_bench(tmp_path)
    later_release(monkeypatch)
    monkeypatch.setattr(schema, "FACET_COLUMNS", [*schema.FACET_COLUMNS, MARGIN])
    ids = make_ids(5, 100)
    bench.write_batch("b-2", ids)
    images = bench.batches / "b-2" / "images.parquet"
    pq.write_table(pq.read_table(images).append_column("camera", pa.array(["left"] * 5)), images)
    folder = bench.assign("b-2", MODEL, ids, [cycle(5, 4), cycle(5, 3)])
    bench.history.add_batches({"b-2": folder}, bench.batches)
    rows = sql(bench, "SELECT margin, confidence FROM facet_1 WHERE batch_id = 'b-2'")
    assert len(rows) == 5
    assert all(row["margin"] == row["confidence"] for row in rows)  # the builder's runner-up has none
    assert sql(bench, "SELECT DISTINCT margin FROM facet_1 WHERE batch_id <> 'b-2'") == [{"margin": None}]
    assert bench.history.check() == []


def test_a_later_release_goes_on_with_parts_that_lack_its_columns(tmp_path, monkeypatch):
    bench, _ = published_bench(tmp_path)
    later_release(monkeypatch)
    monkeypatch.setattr(schema, "_FACET", [*schema._FACET, schema._added(NEXT, "surprise", pa.float32())])
    lost = Path(paths("toy", "facet_0", root=tmp_path)[0])
    lost.unlink()
    restore.restore_parts(bench.published, bench.batches, frozenset(), lambda *_: pytest.fail("nothing to assign"))
    assert bench.history.check() == []
    assert "surprise" not in pq.read_schema(lost).names  # the very rows that were published
    assert schema.schema_version(pq.read_schema(lost).metadata) == NEXT - 1
    gone = sql(bench, "FROM images")[0]["image_id"]
    bench.history.withdraw(frozenset([gone]))
    bench.history.purge_models(frozenset([gone]))
    assert bench.history.check() == []
    for table, column in (("images", "camera"), ("facet_0", "surprise")):
        rows = sql(bench, f"FROM {table}")
        assert len(rows) == 79
        assert {row[column] for row in rows} == {None}
        assert gone not in {row["image_id"] for row in rows}


def test_nothing_is_made_of_parts_of_a_newer_release(tmp_path, monkeypatch):
    with monkeypatch.context() as later:
        later_release(later)
        bench, _ = published_bench(tmp_path)
    assert len(read("toy", "images", root=tmp_path)) == 80
    gone = sql(bench, "SELECT image_id FROM images")[0]["image_id"]
    with pytest.raises(
        ResourceError, match=rf"\.parquet must be of schema {NEXT - 1} or an older one, got {NEXT}, which a newer rele"
    ):
        bench.history.withdraw(frozenset([gone]))


def later_records(monkeypatch):
    """Become a release that has given every record of versions one key more, and wants it there."""

    def with_colour(record):
        assert "colour" not in record
        return {**record, "colour": "none"}

    for module, name in (
        (lists, "LIST"),
        (draft, "IDENTITY"),
        (versions, "VERSION"),
        (versions, "MANIFEST_FORM"),
        (transaction, "MANIFEST_FORM"),
    ):
        form = getattr(module, name)
        monkeypatch.setattr(module, name, replace(form, steps=(*form.steps, with_colour)))


def test_records_of_an_earlier_schema_are_read_added_to_and_mended_under_their_names(tmp_path, monkeypatch):
    bench, _ = published_bench(tmp_path)
    before = load_version(Place(bench.published))
    later_records(monkeypatch)
    assert load_version(Place(bench.published)) == before
    assert bench.history.check() == []
    part = next(inventory.listed_parts(bench.published))
    lists.state_digests(bench.published, part.list, {part.part.file: part.part.digest})
    inventory.mend_records(bench.published)
    assert inventory.record_faults(bench.published) == []
    assert [f"lists/{path.name}" for path in (bench.published / "lists").iterdir()] == [
        ref.file for ref in before.lists
    ]
    ids = make_ids(5, 100)
    bench.write_batch("b-1", ids)
    bench.history.add_batches({"b-1": bench.assign("b-1", MODEL, ids, [cycle(5, 4), cycle(5, 3)])}, bench.batches)
    after = load_version(Place(bench.published))
    assert len(sql(bench, "FROM images")) == 85
    assert after.version == 2
    stated = [read_json(bench.published / name)["schema"] for name in ("manifest.json", after.file, before.file)]
    assert stated == [2, VERSION.schema + 1, VERSION.schema]
    assert [read_json(bench.published / ref.file)["schema"] for ref in after.lists] == [2]
    assert load_identity(Place(bench.published), after) == load_identity(Place(bench.published), before)
    bench.history.withdraw(frozenset(ids[:1].tolist()))
    assert versions.read_version(Place(bench.published), 2).withdrawn == "images in it were removed"
    assert bench.history.check() == []
