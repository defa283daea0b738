from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.core.errors import DataError, PublishError
from pipeline.tables import crosses, paths, read
from pipeline.tables.batches import empty_row
from pipeline.tables.inventory import mend_records
from pipeline.tables.lists import LIST_LENGTH, load_entries
from pipeline.tables.parts import part_rows
from pipeline.tables.place import Place
from pipeline.tables.versions import load_version
from tests.tables.builders import Bench, cycle, make_ids, published_bench

MODEL, NEW = "m-aaaaaaaaaaaa", "m-bbbbbbbbbbbb"

pytestmark = pytest.mark.no_shapes  # the tests of publishing check them


@pytest.fixture
def bench(tmp_path):
    return published_bench(tmp_path)[0]


def ingest(bench, batch_id, ids, model_version=MODEL, **options):
    bench.write_batch(batch_id, ids, **options)
    folder = bench.assign(batch_id, model_version, ids, [cycle(len(ids), 4), cycle(len(ids), 3)])
    bench.history.add_batches({batch_id: folder}, bench.batches)
    return folder


def rows(bench, name, **options):
    return read("toy", name, root=bench.root, engine="arrow", **options).to_pylist()


def test_batch_is_added_at_the_end_and_nothing_else_changes(bench):
    before = paths("toy", "facet_0", root=bench.root)
    ingest(bench, "b-1", make_ids(10, 100), quarantined=2)
    assert bench.history.served().version == 2
    assert paths("toy", "facet_0", root=bench.root)[:-1] == before
    added = rows(bench, "facet_0")[80:]
    assert [row["image_id"] for row in added] == make_ids(10, 100).tolist()
    assert {row["batch_id"] for row in added} == {"b-1"}
    assert {row["cluster_uid"] for row in added} == {f"f0-c00{i}" for i in range(4)}
    assert len(rows(bench, "facet_0", version=1)) == 80
    assert bench.history.check() == []


def test_pairs_of_clusters_count_every_published_image(bench, monkeypatch):
    assert bench.history.cross_counts()[0, 1].sum() == 80
    ingest(bench, "b-1", make_ids(10, 100))
    read = []
    monkeypatch.setattr(crosses, "part_rows", lambda path, columns: read.append(path) or part_rows(path, columns))
    assert bench.history.cross_counts()[0, 1].sum() == 90
    assert [path.parent.name for path in read] == ["b-1", "b-1"]  # the other batches were counted before
    bench.history.cross_counts()
    assert len(read) == 2
    removed = make_ids(10, 100)[3]
    bench.history.withdraw(frozenset([removed]))
    facets = [{row["image_id"]: row["cluster_id"] for row in rows(bench, f"facet_{j}")} for j in (0, 1)]
    expected = np.zeros((4, 3), np.int64)
    for image_id, cluster in facets[0].items():
        expected[cluster, facets[1][image_id]] += 1
    assert expected.sum() == 89
    for _ in range(2):  # counted anew, as images left; then remembered
        (pair,) = bench.history.cross_counts().items()
        assert pair[0] == (0, 1)
        np.testing.assert_array_equal(pair[1], expected)
    (bench.root / ".work" / "toy" / "crosses.json").write_text("{")
    np.testing.assert_array_equal(bench.history.cross_counts()[0, 1], expected)


def test_small_tables_follow(bench):
    ingest(bench, "b-1", make_ids(10, 100), quarantined=2)
    sizes = [row["size"] for row in rows(bench, "clusters")]
    assert sizes == [23, 23, 22, 22, 31, 30, 29]
    (row,) = [row for row in rows(bench, "batches") if row["batch_id"] == "b-1"]
    created = row.pop("created")
    assert created.isoformat() == "2026-11-01T12:00:00+00:00"
    assert row == {
        "batch_id": "b-1",
        "source": "inbox",
        "n_images": 10,
        "quarantined": 2,
        "duplicates": 0,
        "drift": [0.1, 0.2],
        "drifted": False,
        "status": "live",
        "sizes": [[3, 3, 2, 2], [4, 3, 3]],
    }
    assert [row["file"] for row in rows(bench, "quarantine")] == ["broken.png", "b-1-0.png", "b-1-1.png"]
    facet = read("toy", "facet_1", root=bench.root)
    means = pd.Series(facet["confidence"].astype(float).groupby(facet["cluster_id"]).mean())
    found = [row["mean_confidence"] for row in rows(bench, "clusters") if row["facet"] == 1]
    assert found == pytest.approx(means.tolist(), rel=1e-6)


def test_a_batch_that_is_in_is_left_alone(bench):
    folder = ingest(bench, "b-1", make_ids(10, 100))
    bench.history.add_batches({"b-1": folder}, bench.batches)
    assert bench.history.served().version == 2


def test_several_batches_make_one_version(bench):
    folders = {}
    for number in range(3):
        ids = make_ids(5, 100 + 10 * number)
        bench.write_batch(f"b-{number}", ids)
        folders[f"b-{number}"] = bench.assign(f"b-{number}", MODEL, ids, [cycle(5, 4), cycle(5, 3)])
    bench.history.add_batches(folders, bench.batches)
    assert bench.history.served().version == 2
    assert bench.history.served().n_images == 95


def test_images_that_are_in_already_are_refused(bench):
    with pytest.raises(PublishError, match=rf"published once, got 3 that are already in, such as {min(make_ids(3))}"):
        ingest(bench, "b-1", np.concatenate([make_ids(3), make_ids(5, 100)]))
    assert bench.history.served().version == 1


def test_assignments_of_another_model_are_refused(bench):
    with pytest.raises(PublishError, match=f"must hold model_version {MODEL}, got {NEW}"):
        ingest(bench, "b-1", make_ids(5, 100), NEW)


def test_nothing_can_join_before_the_first_version(tmp_path):
    with pytest.raises(PublishError, match="must hold a version that batches can join, got none"):
        ingest(Bench(tmp_path), "b-1", make_ids(5))


def test_removed_images_do_not_come_in(bench):
    ids = make_ids(5, 100)
    bench.write_batch("b-1", ids)
    folder = bench.assign("b-1", MODEL, ids, [cycle(5, 4), cycle(5, 3)])
    bench.history.add_batches({"b-1": folder}, bench.batches, frozenset(ids[:2]))
    assert [row["image_id"] for row in rows(bench, "images")[80:]] == ids[2:].tolist()
    bench.write_batch("b-2", ids[:2])
    folder = bench.assign("b-2", MODEL, ids[:2], [cycle(2, 4), cycle(2, 3)])
    bench.history.add_batches({"b-2": folder}, bench.batches, frozenset(ids[:2]))
    assert bench.history.served().version == 2


def test_broken_batch_record_is_named(bench):
    bench.write_batch("b-1", make_ids(5, 100))
    (bench.batches / "b-1" / "batch.json").write_text('{"id": "b-1"}')
    folder = bench.assign("b-1", MODEL, make_ids(5, 100), [cycle(5, 4), cycle(5, 3)])
    with pytest.raises(DataError, match=r"batch.json must describe a batch, but KeyError\('created'\)"):
        bench.history.add_batches({"b-1": folder}, bench.batches)


def test_new_model_covers_batches_that_did_not_join(bench):
    ingest(bench, "b-1", make_ids(10, 100))
    ids = {"train": make_ids(60), "test": make_ids(20, 60)}
    clusters = {batch: [cycle(len(of), 4, 1), cycle(len(of), 3)] for batch, of in ids.items()}
    bench.write_model(NEW, clusters, ids)
    assert bench.history.unassigned(NEW, bench.batches) == ["b-1"]
    with pytest.raises(PublishError, match="batch b-1 must be assigned by model"):
        bench.publish(NEW)
    folder = bench.assign("b-1", NEW, make_ids(10, 100), [cycle(10, 4, 1), cycle(10, 3)])
    before = {row["image_id"]: row["cluster_uid"] for row in rows(bench, "facet_0")}
    images = paths("toy", "images", root=bench.root)
    bench.publish(NEW, {"b-1": folder})
    assert {row["image_id"]: row["cluster_uid"] for row in rows(bench, "facet_0")} == before
    assert paths("toy", "images", root=bench.root) == images
    assert bench.history.unassigned(NEW, bench.batches) == []
    assert bench.publish(NEW) == 3
    assert bench.history.check() == []


def test_joined_batch_comes_with_the_model(bench):
    ingest(bench, "b-1", make_ids(10, 100), quarantined=1)
    # stage preprocess may mix a joined batch among the rows of train, in another order
    ids = {"train": make_ids(60), "test": make_ids(20, 60), "b-1": make_ids(10, 100)[::-1]}
    bench.write_model(NEW, {batch: [cycle(len(of), 4), cycle(len(of), 3)] for batch, of in ids.items()}, ids)
    assert bench.history.unassigned(NEW, bench.batches) == []
    bench.publish(NEW)
    status = {row["batch_id"]: row["status"] for row in rows(bench, "batches")}
    assert status == {"train": "source", "test": "source", "b-1": "joined"}
    assert [row["image_id"] for row in rows(bench, "facet_0")[80:]] == ids["b-1"].tolist()
    assert len(rows(bench, "quarantine")) == 2
    assert bench.history.check() == []


def test_what_was_refused_without_new_images_stays_listed_whatever_comes_after(bench):
    def require_agreement():
        """As many rows of table ``quarantine`` as table ``batches`` counts, and the tables are whole."""
        listed = Counter(row["batch_id"] for row in rows(bench, "quarantine"))
        assert {row["batch_id"]: row["quarantined"] for row in rows(bench, "batches") if row["quarantined"]} == listed
        assert bench.history.check() == []
        return dict(listed)

    row = empty_row("b-0", "inbox", datetime.now(UTC), quarantined=2, duplicates=4)
    for _ in range(2):
        bench.history.add_refused(row, [("a.png", "truncated"), ("b.png", "empty")])
        assert (bench.history.served().version, require_agreement()) == (2, {"train": 1, "b-0": 2})
    ingest(bench, "b-1", make_ids(10, 100), quarantined=1)
    assert require_agreement() == {"train": 1, "b-0": 2, "b-1": 1}
    ids = {"train": make_ids(60), "test": make_ids(20, 60), "b-1": make_ids(10, 100)}
    bench.write_model(NEW, {batch: [cycle(len(of), 4), cycle(len(of), 3)] for batch, of in ids.items()}, ids)
    bench.publish(NEW)
    assert require_agreement() == {"train": 1, "b-0": 2, "b-1": 1}
    assert [row["status"] for row in rows(bench, "batches")] == ["source", "source", "joined", "empty"]
    bench.history.withdraw(frozenset(make_ids(10, 100)))
    assert require_agreement() == {"train": 1, "b-0": 2}
    (published,) = [part for part in paths("toy", "quarantine", root=bench.root) if "/tables/" in part]
    Path(published).write_bytes(b"damaged")
    mend_records(bench.published)
    assert require_agreement() == {"train": 1, "b-0": 2}


def test_lost_tables_are_made_anew_from_the_batches_on_disk(bench):
    for number, created in ((2, "2026-11-02"), (1, "2026-11-03")):
        ingest(bench, f"b-{number}", make_ids(5, 100 * number), created=created)
    (bench.published / "manifest.json").unlink()
    with pytest.raises(DataError, match=r"manifest.json must name the current version, but is missing"):
        bench.history.unassigned(MODEL, bench.batches)
    lost = Bench(bench.root / "elsewhere")
    ids = {"train": make_ids(60)}
    lost.write_model(NEW, {"train": [cycle(60, 4), cycle(60, 3)]}, ids)
    assert lost.history.unassigned(NEW, bench.batches) == ["b-2", "b-1"]


def test_lists_are_shared_and_only_the_last_one_grows(bench, monkeypatch):
    monkeypatch.setattr("pipeline.tables.lists.LIST_LENGTH", 4)
    for number in range(9):
        ingest(bench, f"b-{number}", make_ids(2, 100 + 10 * number))
    place = Place(bench.published)
    version, before = load_version(place), load_version(place, 9)
    assert [ref.entries for ref in version.lists] == [4, 4, 3]
    assert version.lists[:2] == before.lists[:2]
    expected = ["train", "test", *(f"b-{number}" for number in range(9))]
    assert [entry.batch_id for entry in load_entries(place, version)] == expected
    assert LIST_LENGTH == 256
