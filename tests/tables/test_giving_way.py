"""An image that came with a batch and lies in the source later is published once: with the source."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.tables import read
from pipeline.tables.engine import given_way
from tests.tables.builders import N_COMPONENTS, Bench, Clusters, cycle, make_ids, published_bench, write_images

OLD, NEW = "m-aaaaaaaaaaaa", "m-bbbbbbbbbbbb"
BATCH = make_ids(10, 100)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Version 2 has 80 images of the source and a batch of 10."""
    bench = published_bench(tmp_path)[0]
    bench.write_batch("b-1", BATCH, quarantined=2)
    bench.history.add_batches({"b-1": assigned(bench, OLD)}, bench.batches)
    return bench


def some(n_images: int) -> Clusters:
    return [cycle(n_images, k) for k in N_COMPONENTS]


def assigned(bench: Bench, model_version: str) -> Path:
    return bench.assign("b-1", model_version, BATCH, some(10))


def rebuilt(bench: Bench, model_version: str, n_shared: int) -> None:
    """Leave a model of a source with the first images of the batch, most of them in the test split."""
    ids = {"train": make_ids(60), "test": np.concatenate([make_ids(20, 60), BATCH[:n_shared]])}
    bench.write_model(model_version, {batch: some(len(of)) for batch, of in ids.items()}, ids)


def publish(bench: Bench, model_version: str) -> None:
    wanted = bench.history.unassigned(model_version, bench.batches)
    bench.publish(model_version, {batch_id: assigned(bench, model_version) for batch_id in wanted})
    assert bench.history.check() == []


def batches_of(bench: Bench) -> dict[str, str]:
    """Return the batch of every image, after seeing that all tables have the same images, each once."""
    images = read("toy", "images", root=bench.root)
    assert images["image_id"].is_unique
    for facet in range(2):
        rows = read("toy", f"facet_{facet}", root=bench.root)
        assert (
            rows[["image_id", "batch_id"]].to_numpy().tolist() == images[["image_id", "batch_id"]].to_numpy().tolist()
        )
    return dict(zip(images["image_id"], images["batch_id"], strict=True))


def batch_row(bench: Bench) -> tuple[str, int, int, int]:
    (row,) = [row for row in bench.history.rows("batches") if row["batch_id"] == "b-1"]
    return row["status"], row["n_images"], row["duplicates"], row["quarantined"]


@pytest.mark.parametrize("model_version", [NEW, OLD])
@pytest.mark.parametrize("n_shared", [4, 10])
def test_the_source_publishes_what_it_holds_and_the_batch_the_rest(
    bench: Bench, model_version: str, n_shared: int
) -> None:
    assert batch_row(bench) == ("live", 10, 0, 2)
    rebuilt(bench, model_version, n_shared)
    publish(bench, model_version)
    found = batches_of(bench)
    assert len(found) == 90
    assert [found[image_id] for image_id in BATCH] == ["test"] * n_shared + ["b-1"] * (10 - n_shared)
    assert batch_row(bench) == (("live", 6, 4, 2) if n_shared == 4 else ("empty", 0, 10, 0))
    refused = read("toy", "quarantine", root=bench.root)["batch_id"].tolist()
    assert refused.count("b-1") == batch_row(bench)[3]
    before = bench.history.served().version
    publish(bench, model_version)
    assert bench.history.served().version == before


@pytest.mark.parametrize("model_version", [NEW, OLD])
@pytest.mark.parametrize("n_shared", [4, 10])
def test_what_the_source_loses_again_is_of_the_batch_again(bench: Bench, model_version: str, n_shared: int) -> None:
    rebuilt(bench, model_version, n_shared)
    publish(bench, model_version)
    rebuilt(bench, model_version, 0)
    publish(bench, model_version)
    assert set(batches_of(bench)) == {*make_ids(80), *BATCH}
    assert batch_row(bench) == ("live", 10, 0, 2)


@pytest.mark.parametrize("n_shared", [4, 10])
def test_an_older_model_has_all_images_whichever_source_it_knows(bench: Bench, n_shared: int) -> None:
    rebuilt(bench, NEW, n_shared)
    publish(bench, NEW)
    publish(bench, OLD)
    assert [batches_of(bench)[image_id] for image_id in BATCH] == ["b-1"] * 10
    publish(bench, NEW)
    assert [batches_of(bench)[image_id] for image_id in BATCH] == ["test"] * n_shared + ["b-1"] * (10 - n_shared)


def test_an_image_that_gave_way_counts_once_in_the_lineage(bench: Bench) -> None:
    rebuilt(bench, NEW, 10)
    publish(bench, NEW)
    rows = read("toy", "lineage", root=bench.root)
    found = [row for row in rows.to_dict("records") if (row["facet"], row["level"]) == (0, "cluster")]
    assert sum(row["overlap"] for row in found) == 90


def test_ids_of_an_earlier_release_give_way_too_and_only_later_files_do(tmp_path: Path) -> None:
    first, later, last = (tmp_path / f"{name}.parquet" for name in ("first", "later", "last"))
    ids = make_ids(4)
    other = ids[1][:18] + "0" * 15 + "1"  # begins with the same 64 bits
    write_images(first, {"train": ids[:2]})
    write_images(later, {"b-1": np.array([ids[0][:18], other, ids[2]])})
    write_images(last, {"b-2": ids[2:]})
    assert given_way([first], [later, last], tmp_path) == {later: {ids[0][:18]}, last: {ids[2]}}
    assert given_way([first], [], tmp_path) == {}
