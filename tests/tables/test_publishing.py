import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.errors import DataError, PublishError
from pipeline.tables import paths, read
from pipeline.tables.lists import load_entries
from pipeline.tables.place import Place
from pipeline.tables.versions import load_version
from tests.tables.builders import Bench, cycle, make_ids, published_bench, write_facets, write_images

OLD, NEW = "m-aaaaaaaaaaaa", "m-bbbbbbbbbbbb"


@pytest.fixture
def bench(tmp_path):
    return published_bench(tmp_path)[0]


def table(bench, name, **options):
    return read("toy", name, root=bench.root, engine="arrow", **options)


def rows(bench, name, **options):
    return table(bench, name, **options).to_pylist()


def uids(bench, facet=0):
    """Return cluster_uid by image."""
    return {row["image_id"]: row["cluster_uid"] for row in rows(bench, f"facet_{facet}")}


def permuted(ids, order=(2, 0, 3, 1)):
    """Return clusters of both facets with the components of facet 0 renumbered."""
    return {batch: [np.array(order)[cycle(len(of), 4)], cycle(len(of), 3)] for batch, of in ids.items()}


def test_facet_table_has_the_contracts_columns_and_types(bench):
    assert table(bench, "facet_0").schema.remove_metadata() == pa.schema(
        [
            ("image_id", pa.string()),
            ("batch_id", pa.string()),
            ("cluster_id", pa.int32()),
            ("cluster_uid", pa.string()),
            ("confidence", pa.float32()),
            ("entropy", pa.float32()),
            ("typicality", pa.float32()),
            ("runner_up", pa.int32()),
            ("runner_up_confidence", pa.float32()),
            ("model_version", pa.string()),
            ("group_uid", pa.string()),
            ("group_confidence", pa.float32()),
        ]
    )


def test_first_version_says_what_was_assigned(bench):
    assert bench.history.served().version == 1
    facet = rows(bench, "facet_1")
    images = rows(bench, "images")
    assert [row["image_id"] for row in facet] == [row["image_id"] for row in images] == make_ids(80).tolist()
    assert [row["cluster_id"] for row in facet] == [*cycle(60, 3), *cycle(20, 3)]
    assert {row["cluster_uid"] for row in facet} == {"f1-c000", "f1-c001", "f1-c002"}
    assert images[61] == {
        "image_id": make_ids(80)[61],
        "batch_id": "test",
        "position": 1,
        "path": "test/1.png",
        "height": 28,
        "width": 30,
    }
    assert rows(bench, "quarantine") == [{"batch_id": "train", "file": "broken.png", "reason": "no image"}]


def test_clusters_sum_up_the_facets(bench):
    facet = table(bench, "facet_0").to_pandas()
    found = {row["cluster_id"]: row for row in rows(bench, "clusters") if row["facet"] == 0}
    for component, group in facet.groupby("cluster_id"):
        row = found[component]
        assert row["size"] == len(group)
        assert row["mean_confidence"] == pytest.approx(group["confidence"].astype(float).mean(), rel=1e-6)
        assert row["mixing_weight"] == 0.25
        # typicality falls from row to row, so the first training images are the most typical
        assert row["exemplars"] == group["image_id"].tolist()[:8]
        assert row["minted_by"] == row["model_version"] == OLD


def test_empty_component_is_a_row_without_images(tmp_path):
    bench, ids = Bench(tmp_path), {"train": make_ids(6)}
    bench.write_model(OLD, {"train": [cycle(6, 3), cycle(6, 3)]}, ids)
    bench.publish(OLD)
    (row,) = [row for row in rows(bench, "clusters") if row["size"] == 0]
    assert (row["facet"], row["cluster_id"], row["cluster_uid"]) == (0, 3, "f0-c003")
    assert row["mean_confidence"] is None
    assert row["exemplars"] == []


def test_publishing_the_same_again_changes_nothing(bench):
    before = {path: path.stat().st_mtime_ns for path in bench.published.rglob("*") if path.name != "manifest.json"}
    assert bench.publish(OLD) == 1
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert bench.history.check() == []


def test_permuted_components_keep_their_uids(bench):
    ids = {"train": make_ids(60), "test": make_ids(20, 60)}
    before = uids(bench)
    bench.write_model(NEW, permuted(ids), ids)
    assert bench.publish(NEW) == 2
    assert uids(bench) == before
    assert {row["model_version"] for row in rows(bench, "facet_0")} == {NEW}
    assert {row["kind"] for row in rows(bench, "lineage")} == {"kept"}


def test_unlike_clusters_get_new_uids_and_the_split_is_told(bench):
    ids = {"train": make_ids(60), "test": make_ids(20, 60)}
    # component 0 falls apart into 0 and 1, old 1 to 3 merge into 2
    halves = {
        batch: [np.where(cycle(len(of), 4) == 0, np.arange(len(of)) // 4 % 2, 2), cycle(len(of), 3)]
        for batch, of in ids.items()
    }
    bench.write_model(NEW, halves, ids)
    bench.publish(NEW, min_jaccard=0.4)
    told = rows(bench, "lineage")
    lineage = {(row["old_uid"], row["new_uid"]): row for row in told if row["facet"] == 0 and row["level"] == "cluster"}
    new = {row["cluster_id"]: row["cluster_uid"] for row in rows(bench, "clusters") if row["facet"] == 0}
    assert new[0] == "f0-c000"
    assert new[1] == "f0-c004"
    assert new[2] == "f0-c005"  # three old ones of equal size: none has a Jaccard index of 0.4
    assert lineage["f0-c000", new[1]]["kind"] == "split"
    assert [lineage[f"f0-c00{old}", new[2]]["kind"] for old in (1, 2, 3)] == ["merge"] * 3
    assert lineage["f0-c001", new[2]] == {
        "facet": 0,
        "old_uid": "f0-c001",
        "new_uid": new[2],
        "kind": "merge",
        "overlap": 20,
        "old_share": 1.0,
        "new_share": pytest.approx(1 / 3),
        "old_version": 1,
        "new_version": 2,
        "old_model": OLD,
        "new_model": NEW,
        "level": "cluster",
    }


def test_images_that_move_between_splits_still_match(bench):
    before = uids(bench)
    every = make_ids(80)
    ids = {"train": every[20:], "test": every[:20]}
    components = {image: row["cluster_id"] for image, row in zip(every, rows(bench, "facet_0"), strict=True)}
    clusters = {
        batch: [np.array([3 - components[image] for image in of]), cycle(len(of), 3)] for batch, of in ids.items()
    }
    bench.write_model(NEW, clusters, ids)
    bench.publish(NEW)
    assert uids(bench) == before


def test_a_known_model_keeps_its_first_map(bench):
    ids = {"train": make_ids(60), "test": make_ids(20, 60)}
    before = uids(bench)
    other = {batch: [cycle(len(of), 2), cycle(len(of), 3)] for batch, of in ids.items()}
    bench.write_model(NEW, other, ids)
    bench.publish(NEW, min_jaccard=1.0)
    assert bench.publish(OLD) == 3
    assert uids(bench) == before
    assert len(rows(bench, "lineage")) == len(rows(bench, "lineage", version=2))


def test_more_and_fewer_facets(bench):
    ids = {"train": make_ids(60), "test": make_ids(20, 60)}
    one = {batch: [cycle(len(of), 4)] for batch, of in ids.items()}
    bench.write_model(NEW, one, ids, n_components=[4])
    bench.publish(NEW)
    assert bench.history.served().n_facets == 1
    three = {batch: [cycle(len(of), k) for k in (4, 3, 2)] for batch, of in ids.items()}
    bench.write_model("m-cccccccccccc", three, ids, n_components=[4, 3, 2])
    bench.publish("m-cccccccccccc")
    assert set(uids(bench, 0).values()) == {"f0-c000", "f0-c001", "f0-c002", "f0-c003"}
    assert set(uids(bench, 1).values()) == {"f1-c003", "f1-c004", "f1-c005"}  # facet 1 was away for a version
    assert set(uids(bench, 2).values()) == {"f2-c000", "f2-c001"}


def test_changed_test_split_gets_a_new_revision_and_train_stays(bench):
    before = {name: paths("toy", name, root=bench.root) for name in ("facet_0", "images")}
    ids = {"train": make_ids(60), "test": make_ids(10, 60)}
    bench.write_model(OLD, {batch: [cycle(len(of), k) for k in (4, 3)] for batch, of in ids.items()}, ids)
    assert bench.publish(OLD) == 2
    after = {name: paths("toy", name, root=bench.root) for name in ("facet_0", "images")}
    for name in after:
        assert after[name][0] == before[name][0]
        assert "/test.1/" in after[name][1]
    assert len(rows(bench, "images")) == 70
    assert len(rows(bench, "images", version=1)) == 80
    assert bench.history.check() == []


def test_parts_are_listed_with_rows_and_hashes(bench):
    place = Place(bench.published)
    for entry in load_entries(place, load_version(place)):
        for part in entry.parts.values():
            assert pq.ParquetFile(bench.published / part.file).metadata.num_rows == part.rows
            assert len(part.hash) == 32
    first = load_entries(place, load_version(place))[0].parts["facet_0"]
    assert first.file == f"parts/{OLD}/train/facet_0.parquet"


def rejected(bench, message, error: type[Exception] = PublishError, **options):
    with pytest.raises(error, match=message):
        bench.publish(NEW, **options)
    assert bench.history.served().version == 1
    assert not list(bench.published.glob(".*"))
    assert bench.history.check() == []


def test_image_in_two_batches_is_refused(bench):
    ids = {"train": make_ids(60), "test": make_ids(20, 59)}
    bench.write_model(NEW, permuted(ids), ids)
    rejected(bench, f"published once, got {make_ids(1, 59)[0]} in more than one row")


def test_facets_that_list_other_images_are_refused(bench):
    ids = {"train": make_ids(60), "test": make_ids(20, 60)}
    folder = bench.write_model(NEW, permuted(ids), ids)
    write_images(folder / "prepared" / "images.parquet", {"train": ids["train"][:-1], "test": ids["test"]})
    rejected(bench, "batch train: facet_0 must list the same images as table images .* got 60 rows beside 59")


def test_assignments_of_another_model_are_refused(bench):
    ids = {"train": make_ids(60), "test": make_ids(20, 60)}
    folder = bench.write_model(NEW, permuted(ids), ids)
    write_facets(folder / "assignments" / "test", "test", "m-x", ids["test"], [cycle(20, 4), cycle(20, 3)])
    rejected(bench, f"must hold model_version {NEW}, got m-x to m-x")


def test_assignments_of_another_batch_are_refused(bench):
    ids = {"train": make_ids(60), "test": make_ids(20, 60)}
    folder = bench.write_model(NEW, permuted(ids), ids)
    write_facets(folder / "assignments" / "test", "train", NEW, ids["test"], [cycle(20, 4), cycle(20, 3)])
    rejected(bench, "must hold batch_id test, got train to train")


def test_component_out_of_range_is_refused(bench):
    ids = {"train": make_ids(60), "test": make_ids(20, 60)}
    bench.write_model(NEW, {batch: [cycle(len(of), 5), cycle(len(of), 3)] for batch, of in ids.items()}, ids)
    rejected(bench, "must hold cluster_id from 0 to 3, got 0 to 4")


def test_missing_facet_file_is_named(bench):
    ids = {"train": make_ids(60), "test": make_ids(20, 60)}
    folder = bench.write_model(NEW, permuted(ids), ids)
    (folder / "assignments" / "test" / "facet_1.parquet").unlink()
    rejected(bench, "assignments/test/facet_1.parquet is missing", DataError)


def test_truncated_facet_file_is_named(bench):
    ids = {"train": make_ids(60), "test": make_ids(20, 60)}
    folder = bench.write_model(NEW, permuted(ids), ids)
    path = folder / "assignments" / "test" / "facet_1.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    rejected(bench, "test/facet_1.parquet must be a whole Parquet file, but", DataError)


def test_non_finite_numbers_are_refused(bench):
    ids = {"train": make_ids(60), "test": make_ids(20, 60)}
    folder = bench.write_model(NEW, permuted(ids), ids)
    path = folder / "assignments" / "test" / "facet_1.parquet"
    found = pq.read_table(path)
    spoilt = found.set_column(found.schema.names.index("entropy"), "entropy", pa.array([np.nan] * 20, pa.float32()))
    pq.write_table(spoilt, path)
    rejected(bench, "must hold finite numbers in column entropy")


def test_batch_that_was_trained_on_must_be_assigned(bench):
    ids = {"train": make_ids(60), "test": make_ids(20, 60)}
    folder = bench.write_model(NEW, permuted(ids), ids)
    model = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**model, "trained_on": ["train", "b-1"]}))
    rejected(bench, "assignments of everything it was trained on, got none of b-1")


def test_model_that_is_not_staged_is_refused(bench):
    rejected(bench, f"model {NEW} must lie in .*, got nothing there")
