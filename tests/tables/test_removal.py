import pyarrow.parquet as pq
import pytest

from pipeline.core.errors import ConfigError, DataError
from pipeline.tables import paths, read
from pipeline.tables.transaction import write_manifest
from tests.tables.builders import Bench, cycle, make_ids, published_bench

pytestmark = pytest.mark.no_shapes  # the tests of publishing check them

OLD, NEW = "m-aaaaaaaaaaaa", "m-bbbbbbbbbbbb"


@pytest.fixture
def bench(tmp_path):
    """Versions 1 (old model), 2 (with batch b-1) and 3 (new model)."""
    bench, ids = published_bench(tmp_path)
    joined = make_ids(10, 100)
    bench.write_batch("b-1", joined, quarantined=1)
    folder = bench.assign("b-1", OLD, joined, [cycle(10, 4), cycle(10, 3)])
    bench.history.add_batches({"b-1": folder}, bench.batches)
    bench.write_model(NEW, {batch: [cycle(len(of), 4, 2), cycle(len(of), 3)] for batch, of in ids.items()}, ids)
    folder = bench.assign("b-1", NEW, joined, [cycle(10, 4, 2), cycle(10, 3)])
    bench.publish(NEW, {"b-1": folder})
    return bench


def rows(bench, name, **options):
    return read("toy", name, root=bench.root, engine="arrow", **options).to_pylist()


def files_with(bench, image_id):
    """Return every file below ``published`` whose data mention an image."""
    found = []
    for path in bench.published.rglob("*.parquet"):
        if image_id in str(pq.read_table(path).to_pydict()):
            found.append(str(path.relative_to(bench.published)))
    return found


def test_image_is_gone_from_every_file(bench):
    gone = make_ids(80)[[3, 70]]
    bench.history.withdraw(frozenset(gone))
    assert [files_with(bench, image_id) for image_id in gone] == [[], []]
    assert bench.history.served().version == 4
    assert bench.history.check() == []
    for name in ("facet_0", "facet_1", "images"):
        left = [row["image_id"] for row in rows(bench, name)]
        assert left == [image for image in [*make_ids(80), *make_ids(10, 100)] if image not in gone]


def test_sums_follow(bench):
    gone = frozenset(make_ids(10, 100)[:4])
    before = {row["cluster_uid"]: row["size"] for row in rows(bench, "clusters")}
    facet = {row["image_id"]: row["cluster_uid"] for row in rows(bench, "facet_0")}
    bench.history.withdraw(gone)
    after = {row["cluster_uid"]: row["size"] for row in rows(bench, "clusters")}
    for uid, size in before.items():
        if uid.startswith("f0"):
            assert after[uid] == size - sum(facet[image] == uid for image in gone)
    batches = {row["batch_id"]: row for row in rows(bench, "batches")}
    assert {batch: row["n_images"] for batch, row in batches.items()} == {"train": 60, "test": 20, "b-1": 6}
    assert batches["b-1"]["sizes"][1] == [2, 2, 2]


def test_untouched_batches_keep_their_parts_and_touched_ones_get_a_revision(bench):
    before = paths("toy", "facet_0", root=bench.root)
    bench.history.withdraw(frozenset(make_ids(1, 100)))
    after = paths("toy", "facet_0", root=bench.root)
    assert after[:2] == before[:2]
    assert after[2].endswith(f"parts/{NEW}/b-1.1/facet_0.parquet")
    bench.history.withdraw(frozenset(make_ids(2, 100)))
    assert paths("toy", "facet_0", root=bench.root)[2].endswith(f"parts/{NEW}/b-1.2/facet_0.parquet")


def test_only_versions_that_list_the_image_are_withdrawn(bench):
    bench.history.withdraw(frozenset(make_ids(1, 100)))
    assert len(rows(bench, "facet_0", version=1)) == 80
    for version in (2, 3):
        with pytest.raises(
            ConfigError, match=f"version {version} must not be read any more: images in it were removed"
        ):
            rows(bench, "facet_0", version=version)


def test_a_record_of_a_backup_that_points_at_a_withdrawn_version_is_damage(bench):
    bench.history.withdraw(frozenset(make_ids(1, 100)))
    write_manifest(bench.published, 3)
    with pytest.raises(DataError, match=r"must not point at version 3, which is withdrawn: .*; run facets check"):
        rows(bench, "facet_0")


def test_a_whole_batch_goes(bench):
    bench.history.withdraw(frozenset(make_ids(10, 100)))
    assert {row["batch_id"] for row in rows(bench, "images")} == {"train", "test"}
    (row,) = [row for row in rows(bench, "batches") if row["batch_id"] == "b-1"]
    assert (row["status"], row["n_images"]) == ("removed", 0)
    assert [row["file"] for row in rows(bench, "quarantine")] == ["broken.png"]
    assert not list(bench.published.glob("parts/*/b-1*/facet_*"))
    assert bench.history.unassigned(OLD, bench.batches) == []
    assert bench.history.check() == []


def test_repeating_a_removal_changes_nothing(bench):
    gone = frozenset(make_ids(80)[[3, 70]])
    bench.history.withdraw(gone)
    bench.history.withdraw(gone)
    assert bench.history.served().version == 4


def test_unknown_images_and_no_tables_are_no_fault(bench, tmp_path):
    bench.history.withdraw(frozenset(make_ids(1, 900)))
    bench.history.withdraw(frozenset())
    assert bench.history.served().version == 3
    Bench(tmp_path / "empty").history.withdraw(frozenset(make_ids(1, 900)))
    assert Bench(tmp_path / "empty").history.current() is None


def test_the_next_most_typical_images_take_the_place_of_removed_exemplars(bench):
    exemplars = rows(bench, "clusters")[0]["exemplars"]
    members = [row["image_id"] for row in rows(bench, "facet_0") if row["cluster_id"] == 0]
    assert exemplars == members[:8]
    bench.history.withdraw(frozenset(members[:2]))
    assert rows(bench, "clusters")[0]["exemplars"] == members[2:10]


def test_what_was_removed_stays_removed_after_a_rollback(bench):
    gone = frozenset([make_ids(1)[0], make_ids(1, 100)[0]])
    bench.history.withdraw(gone)
    assert bench.history.model_of(1) == OLD
    assert bench.history.unassigned(OLD, bench.batches) == ["b-1"]
    left = make_ids(10, 100)
    folder = bench.assign("b-1", OLD, left, [cycle(10, 4), cycle(10, 3)])
    bench.publish(OLD, {"b-1": folder}, removed=gone)
    assert gone.isdisjoint(row["image_id"] for row in rows(bench, "facet_0"))
    assert len(rows(bench, "facet_0")) == 88
    assert [files_with(bench, image_id) for image_id in gone] == [[], []]
    # no name is used twice
    assert paths("toy", "facet_0", root=bench.root)[0].endswith(f"parts/{OLD}/train.1/facet_0.parquet")
    assert bench.history.check() == []


def test_old_parts_of_other_batches_serve_a_rollback_after_a_removal(bench):
    bench.history.withdraw(frozenset(make_ids(1)))
    assert bench.history.unassigned(OLD, bench.batches) == []
    before = {row["image_id"]: row["cluster_uid"] for row in rows(bench, "facet_1")}
    bench.publish(OLD, removed=frozenset(make_ids(1)))
    assert {row["image_id"]: row["cluster_uid"] for row in rows(bench, "facet_1")} == before
    # and a later removal finds them there
    bench.history.withdraw(frozenset([*make_ids(1), *make_ids(1, 100)]))
    assert files_with(bench, make_ids(1, 100)[0]) == []
    assert bench.history.check() == []


def test_image_known_to_old_versions_only(bench):
    ids = {"train": make_ids(50), "test": make_ids(20, 60)}
    bench.write_model(NEW, {batch: [cycle(len(of), 4), cycle(len(of), 3)] for batch, of in ids.items()}, ids)
    bench.publish(NEW)
    lost = make_ids(1, 55)[0]
    assert files_with(bench, lost)
    bench.history.withdraw(frozenset([lost]))
    assert files_with(bench, lost) == []
    assert bench.history.served().version == 4
    assert bench.history.check() == []


def test_staged_models_forget_too(bench):
    gone = make_ids(1)[0]
    bench.history.purge_models(frozenset([gone]))
    assert not [name for name in files_with(bench, gone) if name.startswith("models/")]
    path = bench.published / "models" / OLD / "assignments" / "train" / "facet_1.parquet"
    assert pq.read_table(path)["image_id"].to_pylist() == make_ids(59, 1).tolist()
