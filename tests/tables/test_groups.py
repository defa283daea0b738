"""Groups of clusters in the published tables: columns, tables, names that last, and what the check sees."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.groups import write_groups
from pipeline.tables import query
from pipeline.tables.identity import Identity, overlap_of_groups
from pipeline.tables.names import set_name
from tests.tables.builders import Bench, cycle, make_ids, model_groups, published_bench
from tests.tables.test_publishing import NEW, OLD, permuted, rows


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return published_bench(tmp_path)[0]


IDS = {"train": make_ids(60), "test": make_ids(20, 60)}


def groups_by_image(bench: Bench) -> dict[str, str]:
    return {row["image_id"]: row["group_uid"] for row in rows(bench, "facet_0")}


def test_rows_state_the_group_of_their_cluster(bench: Bench) -> None:
    of_cluster = {row["cluster_uid"]: row["group_uid"] for row in rows(bench, "clusters")}
    assert of_cluster == {
        "f0-c000": "f0-g000",
        "f0-c001": "f0-g000",
        "f0-c002": "f0-g001",
        "f0-c003": "f0-g002",
        "f1-c000": "f1-g000",
        "f1-c001": "f1-g000",
        "f1-c002": "f1-g001",
    }
    for row in rows(bench, "facet_0"):
        assert row["group_uid"] == of_cluster[row["cluster_uid"]]
        assert row["group_confidence"] == pytest.approx((1 + row["confidence"]) / 2)


def test_groups_list_their_clusters_and_merges_how_they_came_about(bench: Bench) -> None:
    first = rows(bench, "groups")[0]
    assert first == {
        "facet": 0,
        "group_uid": "f0-g000",
        "clusters": ["f0-c000", "f0-c001"],
        "size": 40,
        "mixing_weight": 0.5,
        "certainty": 0.8,
        "reproducibility": 0.7,
        "minted_by": OLD,
        "model_version": OLD,
        "hinted": 0,
    }
    steps = [row for row in rows(bench, "merges") if row["facet"] == 0]
    assert [(row["n_groups"], row["clusters"], row["joined_with"]) for row in steps] == [
        (3, ["f0-c000"], ["f0-c001"]),
        (2, ["f0-c000", "f0-c001"], ["f0-c002"]),
        (1, ["f0-c000", "f0-c001", "f0-c002"], ["f0-c003"]),
    ]


def test_a_named_group_is_named_in_queries(bench: Bench) -> None:
    names = bench.root / "names" / "toy.csv"
    names.parent.mkdir()
    set_name(names, "f0-g000", "round ones", {"f0-g000": OLD}, "both sizes")
    sql = "SELECT group_name, cluster_name, count(*) AS n FROM facet_0 GROUP BY ALL ORDER BY 1 NULLS FIRST"
    assert query("toy", sql, root=bench.root, engine="arrow").to_pylist() == [
        {"group_name": None, "cluster_name": None, "n": 40},
        {"group_name": "round ones", "cluster_name": None, "n": 40},
    ]
    sql = "SELECT name, note FROM groups WHERE group_uid = 'f0-g000'"
    assert query("toy", sql, root=bench.root, engine="arrow").to_pylist() == [
        {"name": "round ones", "note": "both sizes"}
    ]


def test_groups_of_permuted_components_keep_their_uids(bench: Bench) -> None:
    before = groups_by_image(bench)
    # Old components 0, 1, 2, 3 are 2, 0, 3, 1 now, so the old pair 0 and 1 is the pair 0 and 2.
    bench.write_model(NEW, permuted(IDS), IDS, groups=[[0, 1, 0, 2], [0, 0, 1]])
    assert bench.publish(NEW) == 2
    assert groups_by_image(bench) == before
    assert {row["kind"] for row in rows(bench, "lineage") if row["level"] == "group"} == {"kept"}
    assert bench.history.check() == []


def test_split_and_merged_groups_are_told(bench: Bench) -> None:
    clusters = {batch: [cycle(len(of), 4), cycle(len(of), 3)] for batch, of in IDS.items()}
    # Of facet 0 the pair falls apart and the other two join.
    bench.write_model(NEW, clusters, IDS, groups=[[0, 1, 2, 2], [0, 0, 1]])
    bench.publish(NEW, min_jaccard=0.6)
    told = {
        (row["old_uid"], row["new_uid"]): row["kind"]
        for row in rows(bench, "lineage")
        if (row["facet"], row["level"]) == (0, "group")
    }
    assert told == {
        ("f0-g000", "f0-g003"): "split",
        ("f0-g000", "f0-g004"): "split",
        ("f0-g001", "f0-g005"): "merge",
        ("f0-g002", "f0-g005"): "merge",
    }
    assert {row["kind"] for row in rows(bench, "lineage") if row["level"] == "cluster"} == {"kept"}


def test_batches_and_removals_change_the_sizes_of_groups(bench: Bench) -> None:
    ids = make_ids(4, 200)
    bench.write_batch("b-2", ids)
    folder = bench.assign("b-2", OLD, ids, [cycle(4, 4), cycle(4, 3)])
    bench.history.add_batches({"b-2": folder}, bench.batches)
    assert [row["size"] for row in rows(bench, "groups") if row["facet"] == 0] == [42, 21, 21]
    bench.history.withdraw(frozenset(ids[:2]))
    assert [row["size"] for row in rows(bench, "groups") if row["facet"] == 0] == [40, 21, 21]
    assert len(rows(bench, "merges")) == 5
    assert bench.history.check() == []


def test_models_of_an_earlier_release_have_no_groups_until_another_takes_over(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    clusters = {batch: [cycle(len(of), 4), cycle(len(of), 3)] for batch, of in IDS.items()}
    bench.write_model(OLD, clusters, IDS, groups=[])
    bench.publish(OLD)
    row = rows(bench, "facet_0")[0]
    assert (row["group_uid"], row["group_confidence"]) == (None, None)
    assert rows(bench, "groups") == rows(bench, "merges") == []
    assert bench.history.check() == []
    bench.write_model(NEW, permuted(IDS), IDS)
    bench.publish(NEW)
    assert set(groups_by_image(bench).values()) == {"f0-g000", "f0-g001", "f0-g002"}
    assert {row["level"] for row in rows(bench, "lineage")} == {"cluster"}
    bench.publish(OLD)
    assert set(groups_by_image(bench).values()) == {None}
    assert bench.history.check() == []


def test_the_check_compares_groups_with_the_model(bench: Bench) -> None:
    write_groups(bench.published / "models" / OLD, model_groups([[0, 1, 1, 2], [0, 0, 1]]))
    (problem,) = bench.history.check()
    assert f"must give a group_uid to the groups of model {OLD}, got others" in problem


def test_the_check_compares_sizes_of_groups_with_their_clusters(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pq.read_table(bench.published / bench.history.served().tables["groups"].file)
    rows_of_groups = table.to_pylist()
    rows_of_groups[0]["size"] += 1
    monkeypatch.setattr("pipeline.tables.publishing.group_rows", lambda *_: rows_of_groups)
    bench.write_model(NEW, permuted(IDS), IDS)
    bench.publish(NEW)
    assert any("must list every group with the images of its clusters" in found for found in bench.history.check())


@given(st.data())
def test_the_overlap_of_groups_is_that_of_the_images(data: st.DataObject) -> None:
    """Whatever the groups: counted from images, not from components."""
    n_images, (k_old, k_new) = 50, (5, 4)
    drawn = np.random.default_rng(data.draw(st.integers(0, 1000)))
    old, new = drawn.integers(0, k_old, n_images), drawn.integers(0, k_new, n_images)
    of_old = data.draw(st.lists(st.sampled_from("abc"), min_size=k_old, max_size=k_old))
    of_new = data.draw(st.lists(st.integers(0, 2), min_size=k_new, max_size=k_new))
    overlap = np.zeros((k_old, k_new), np.int64)
    np.add.at(overlap, (old, new), 1)
    shared = overlap_of_groups(overlap, of_old, of_new)
    names = [list(dict.fromkeys(groups)) for groups in (of_old, of_new)]
    for i, one in enumerate(names[0]):
        for j, other in enumerate(names[1]):
            both = (np.array(of_old)[old] == one) & (np.array(of_new)[new] == other)
            assert shared[i, j] == both.sum()


def test_a_known_model_keeps_its_groups_and_numbers_never_go_back() -> None:
    first = Identity().with_model("m-1", [3], [[0, 0, 1]])
    assert first.groups["m-1"] == (("f0-g000", "f0-g000", "f0-g001"),)
    assert first.with_model("m-1", [3], [[0, 1, 2]]) is first
    second = first.with_model("m-2", [2], [[0, 1]], served="m-1", overlaps=[np.array([[5, 0], [4, 0], [0, 9]])])
    assert second.groups["m-2"] == (("f0-g000", "f0-g001"),)
    third = second.with_model("m-3", [3], [[0, 1, 2]], served="m-2", overlaps=[np.zeros((2, 3), np.int64)])
    assert third.groups["m-3"] == (("f0-g002", "f0-g003", "f0-g004"),)
    assert third.next_group == (5,)
    assert third.minted_by["f0-g004"] == "m-3"
