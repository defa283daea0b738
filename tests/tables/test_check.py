from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.core.errors import DataError
from pipeline.tables import paths, query
from pipeline.tables.draft import load_identity, write_identity
from pipeline.tables.lists import load_entries, write_lists
from pipeline.tables.place import Place
from pipeline.tables.versions import load_version, write_version
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
    path = part(bench)
    table = pq.read_table(path)
    pq.write_table(table.slice(1), path)
    assert "must say what it said when it was published" in only_problem(bench)
    pq.write_table(table.drop_columns(["entropy"]), path)
    assert "must say what it said when it was published" in only_problem(bench)


def test_the_same_rows_in_another_file_are_named_because_readers_skip_by_what_else_is_in_it(bench):
    pq.write_table(pq.read_table(part(bench)), part(bench), compression="none", row_group_size=7)
    assert "must be the very file that was published" in only_problem(bench)


def edit(bench, **changes):
    """Write the record of the version with other values, and a checksum that is right."""
    version = load_version(Place(bench.published))
    write_version(bench.published, replace(version, **changes))


def edit_entries(bench, change):
    """Let the version list other entries."""
    entries = change(load_entries(Place(bench.published), load_version(Place(bench.published))))
    edit(bench, lists=write_lists(bench.published, entries))


def test_wrong_sums_are_found(bench):
    totals = load_version(Place(bench.published)).totals
    edit(bench, totals=(totals[0], replace(totals[1], sizes=totals[1].sizes[::-1])))
    assert "versions/1.json must state the sizes that the parts have" in only_problem(bench)
    edit(bench, n_images=7)
    assert "must list 7 images, got 80" in bench.history.check()[1]


def test_an_image_that_appears_twice_is_found(bench):
    edit_entries(bench, lambda entries: [entries[0], replace(entries[0], batch_id="test")])
    found = bench.history.check()
    assert any("must state the sizes" in problem for problem in found)
    edit(bench, n_images=120, totals=doubled(bench))
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
        totals.append(tally.totals())
    return tuple(totals)


def test_facets_of_other_images_are_found(bench):
    def exchanged(entries):
        first, second = (dict(entry.parts) for entry in entries)
        first["facet_1"], second["facet_1"] = second["facet_1"], first["facet_1"]
        return [replace(entries[0], parts=first), replace(entries[1], parts=second)]

    edit_entries(bench, exchanged)
    assert any("must list the 60 images of batch train, got 20" in problem for problem in bench.history.check())


def test_a_lost_model_is_found(bench):
    model = bench.published / "models" / "m-aaaaaaaaaaaa"
    (model / "seed-1.safetensors").unlink()
    assert "seed-1.safetensors is missing, so no new batch can be assigned" in only_problem(bench)
    (model / "model.json").unlink()
    assert "model m-aaaaaaaaaaaa must lie in" in only_problem(bench)


def test_ambiguous_uids_are_found(bench):
    place = Place(bench.published)
    version = load_version(place)
    identity = load_identity(place, version)
    first, second = identity.maps["m-aaaaaaaaaaaa"]
    twice = replace(identity, maps={"m-aaaaaaaaaaaa": (first, (*second[:2], "f1-c000"))})
    edit(bench, identity=write_identity(bench.published, twice))
    assert "facet 1 must have one cluster_uid a component (3), got 2" in only_problem(bench)


@pytest.mark.parametrize("kind", ["manifest.json", "versions/*.json", "lists/*.json", "identity/*.json"])
def test_a_record_that_was_changed_is_named_by_whoever_reads_it(bench, kind):
    (path,) = bench.published.glob(kind)
    text = path.read_text()
    path.write_text(text.replace("1", "2", 1))
    assert path.name in only_problem(bench)
    with pytest.raises(DataError, match=f"{path.name} must .*run facets check --repair"):
        query("toy", "SELECT * FROM facet_0, clusters", root=bench.root)
