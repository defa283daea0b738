import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.tables import paths
from tests.tables.builders import Bench, published_bench


@pytest.fixture
def bench(tmp_path):
    return published_bench(tmp_path)[0]


def part(bench, table="facet_0"):
    return Path(paths("toy", table, root=bench.root)[0])


def only_problem(bench):
    (found,) = bench.history.check()
    return found


def test_sound_tables_have_no_problem(bench):
    assert bench.history.check() == []


def test_nothing_published_is_a_problem(tmp_path):
    assert "must hold a published version, got none" in only_problem(Bench(tmp_path))


@pytest.mark.parametrize("table", ["facet_0", "images", "clusters", "quarantine"])
def test_missing_and_damaged_files_are_named(bench, table):
    path = part(bench, table)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert f"{path} must be a whole Parquet file" in only_problem(bench)
    path.unlink()
    assert f"{path} is missing" in only_problem(bench)


def test_changed_rows_are_found(bench):
    table = pq.read_table(part(bench))
    pq.write_table(table.slice(1), part(bench))
    assert "must say what it said when it was published" in only_problem(bench)
    pq.write_table(table.drop_columns(["entropy"]), part(bench))
    assert "must say what it said when it was published" in only_problem(bench)


def test_same_rows_in_another_file_are_fine(bench):
    pq.write_table(pq.read_table(part(bench)), part(bench), compression="none", row_group_size=7)
    assert bench.history.check() == []


def edit(bench, change):
    path = bench.published / "versions" / "1.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def test_wrong_sums_are_found(bench):
    edit(bench, lambda record: record["totals"][1]["sizes"].reverse())
    assert "versions/1.json must state the sizes that the parts have" in only_problem(bench)
    edit(bench, lambda record: record.update(n_images=7))
    assert "must list 7 images, got 80" in bench.history.check()[1]


def test_an_image_that_appears_twice_is_found(bench):
    (listed,) = (bench.published / "lists").glob("*.json")
    record = json.loads(listed.read_text())
    train = record["entries"][0]
    record["entries"][1] = {**train, "batch_id": "test"}
    listed.write_text(json.dumps(record))
    found = bench.history.check()
    assert any("must state the sizes" in problem for problem in found)
    edit(bench, lambda record: record.update(n_images=120, totals=doubled(bench)))
    assert "must be published once, got i-" in only_problem(bench)


def doubled(bench):
    """Return the sums of the training split, twice."""
    from pipeline.tables.parts import part_rows
    from pipeline.tables.summary import Tally

    totals = []
    for facet, n_components in enumerate((4, 3)):
        tally = Tally(n_components)
        for rows in part_rows(part(bench, f"facet_{facet}")):
            tally.add(rows)
            tally.add(rows)
        totals.append({"sizes": tally.totals().sizes, "confidence": tally.totals().confidence})
    return totals


def test_facets_of_other_images_are_found(bench):
    (listed,) = (bench.published / "lists").glob("*.json")
    record = json.loads(listed.read_text())
    parts = [entry["parts"] for entry in record["entries"]]
    parts[0]["facet_1"], parts[1]["facet_1"] = parts[1]["facet_1"], parts[0]["facet_1"]
    listed.write_text(json.dumps(record))
    assert any("must list the 60 images of batch train, got 20" in problem for problem in bench.history.check())


def test_a_lost_model_is_found(bench):
    model = bench.published / "models" / "m-aaaaaaaaaaaa"
    (model / "seed-1.safetensors").unlink()
    assert "seed-1.safetensors is missing, so no new batch can be assigned" in only_problem(bench)
    (model / "model.json").unlink()
    assert "model m-aaaaaaaaaaaa must lie in" in only_problem(bench)


def test_ambiguous_uids_are_found(bench):
    (path,) = (bench.published / "identity").glob("*.json")
    record = json.loads(path.read_text())
    record["maps"]["m-aaaaaaaaaaaa"][1][2] = "f1-c000"
    path.write_text(json.dumps(record))
    assert "facet 1 must have one cluster_uid a component (3), got 2" in only_problem(bench)
