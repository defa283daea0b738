"""What an earlier release published is queried, added to, rolled back to, mended and rebuilt by this one."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from PIL import Image

import pipeline
from pipeline.core.errors import ResourceError
from pipeline.core.image_ids import format_ids, short_ids
from pipeline.core.sealed import write_sealed
from pipeline.core.storage import read_json
from pipeline.datasets.store.identity import hash_images
from pipeline.datasets.store.images import ImageStore
from pipeline.model.precision import multiplies_bfloat16
from pipeline.operations.assign_batch import assigner
from pipeline.operations.check import check_experiments
from pipeline.operations.ingest import ingest
from pipeline.operations.page import refresh_page
from pipeline.operations.publish import rollback
from pipeline.operations.remove import remove
from pipeline.operations.renew_batches import renew_batches
from pipeline.tables import query, read
from tests.operations.releases import RELEASES, unpack
from tests.operations.tiny import EXPERIMENT, Tiny, new_images
from tests.repository import STAGES, Repository

pytestmark = pytest.mark.no_shapes  # the operations' own tests check shapes

TABLES = ("facet_0", "facet_1", "images", "clusters", "batches", "lineage", "quarantine")


@pytest.fixture(params=RELEASES)
def released(request: pytest.FixtureRequest, tmp_path: Path) -> Tiny:
    """A repository as a release left it."""
    return unpack(request.param, tmp_path / "released")


def rows(released: Tiny, sql: str, version: int | None = None) -> list[dict[str, Any]]:
    """Return the rows of a query."""
    return query(EXPERIMENT, sql, version=version, root=released.root, engine="arrow").to_pylist()


def has_same_digits(released: Tiny, model_version: str, batch: str) -> bool:
    """Tell whether this processor assigns with the last digits of the one on which the release published.

    Rows that differ are no mended part; what lies between the two is rounding.
    """
    parts = released.layout.published / "parts" / model_version / batch
    (anew,) = assigner(released.layout)([batch], released.layout.published / "models" / model_version).values()
    columns = ["confidence", "entropy", "typicality", "runner_up_confidence"]
    published, own = (
        np.array([pq.read_table(folder / f"facet_{facet}.parquet", columns=columns).columns for facet in (0, 1)])
        for folder in (parts, anew)
    )
    differences = published - own
    # The releases published where products are in bfloat16; without it theirs are the coarser numbers.
    np.testing.assert_allclose(differences, 0, atol=1e-5 if multiplies_bfloat16(torch.device("cpu")) else 0.03)
    return not np.any(differences)


def deliver(released: Tiny, n_images: int) -> str:
    """Write new images, and one that the release had ingested already."""
    folder = released.root / "later"
    folder.mkdir()
    for number, pixels in enumerate(new_images(n_images)):
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "again.png").write_bytes((released.root / "delivery" / "new-0.png").read_bytes())
    return str(folder)


def old(ids: Iterable[str]) -> list[str]:
    """Return, sorted, the ids that releases with 64 bits gave to images."""
    return sorted(short_ids(ids).tolist())


def source_ids(released: Tiny) -> dict[str, np.ndarray]:
    """Return the source's images by the ids of today."""
    with np.load(released.root / "data" / "own" / "images.npz") as arrays:
        images = arrays["images"]
    hashes = hash_images(images[:, None])
    return dict(zip(format_ids(hashes, np.ones(len(images), np.int64)).astype(str).tolist(), images, strict=True))


def uids(released: Tiny) -> dict[str, tuple[str, ...]]:
    """Return the cluster uids of the images, by image id."""
    tables = [rows(released, f"SELECT image_id, cluster_uid FROM facet_{facet} ORDER BY 1") for facet in (0, 1)]
    return {a["image_id"]: (a["cluster_uid"], b["cluster_uid"]) for a, b in zip(*tables, strict=True)}


def test_its_tables_are_read(released: Tiny) -> None:
    assert len(released.image_ids()) == 125  # 119 of the source, one of them was removed, and six of the batch
    for table in TABLES:
        assert len(read(EXPERIMENT, table, root=released.root)) == len(rows(released, f"FROM {table}"))
    (batch,) = rows(released, "FROM batches WHERE status = 'live'")
    assert (batch["n_images"], batch["quarantined"], batch["drift"]) == (6, 1, None)
    assert released.image_ids(batch["batch_id"]) == sorted(
        row["image_id"] for row in rows(released, "FROM images WHERE path LIKE 'new-%'")
    )
    assert rows(released, "SELECT facet, name, note FROM clusters WHERE name IS NOT NULL") == [
        {"facet": 0, "name": "bars", "note": "upright ones"}
    ]
    assert {row["model_version"] for row in rows(released, "FROM clusters")} != {
        row["model_version"] for row in rows(released, "FROM clusters", version=3)
    }


def test_its_model_is_taken_along(released: Tiny) -> None:
    """The first one: the second assigned by samples, for which the most probable components stand in now."""
    model = pipeline.load(EXPERIMENT, version=3, root=released.root)
    found = model.predict(np.stack([*source_ids(released).values()]))
    published = {row["image_id"]: row for row in rows(released, "FROM facet_0", version=3)}
    same = [
        published[image_id]["cluster_uid"] == uid
        for image_id, uid in zip(short_ids(found["image_id"]), found["facet_0_cluster_uid"], strict=True)
        if image_id in published
    ]
    assert len(same) == 119
    assert same.count(False) <= 1  # products in bfloat16 may decide a close case otherwise
    assert set(found["facet_0_cluster_name"].dropna()) == {"bars"}
    assert found[["facet_1_group_uid", "facet_1_group_confidence"]].isna().all().all()


def test_new_images_join_it_and_an_older_model_comes_back(released: Tiny) -> None:
    before = uids(released)
    assert released.history.lacks_content()
    result = ingest(released.layout, released.params, deliver(released, 5))
    assert not released.history.lacks_content()
    assert (result.version, result.n_images, result.duplicates, result.faults) == (5, 5, 1, ())
    after = uids(released)
    assert len(after) == 130
    assert {image_id: after[image_id] for image_id in before} == before
    first_model = {row["cluster_uid"] for row in rows(released, "FROM clusters", version=3)}
    assert rollback(released.layout, released.params, 3) == (6, True)
    assert sorted(uids(released)) == sorted(after) == released.image_ids()
    assert {row["cluster_uid"] for row in rows(released, "FROM clusters")} == first_model
    assert rollback(released.layout, released.params, 4) == (7, True)
    assert uids(released) == after
    assert rows(released, "SELECT cluster_uid AS uid FROM clusters WHERE name = 'bars'") == [{"uid": "f0-c003"}]


def test_images_are_removed_from_it(released: Tiny) -> None:
    (batch,) = rows(released, "FROM batches WHERE status = 'live'")
    gone = released.image_ids(batch["batch_id"])[:2]
    assert remove(released.layout, [], gone).version == 5
    assert len(released.image_ids()) == 123
    assert len(rows(released, f"FROM images WHERE batch_id = '{batch['batch_id']}'")) == 4


def test_its_page_is_composed_and_its_records_get_checksums_and_copies(released: Tiny) -> None:
    before = uids(released)
    refresh_page(released.layout)
    page = (released.layout.published / "report.html").read_text()
    assert all(uid in page for pair in before.values() for uid in pair)
    assert check_experiments(released.root, [EXPERIMENT])[EXPERIMENT].problems == ()
    found = check_experiments(released.root, [EXPERIMENT], mend=True)[EXPERIMENT]
    assert found.problems == ()
    assert found.mended
    assert check_experiments(released.root, [EXPERIMENT], deep=True)[EXPERIMENT].problems == ()
    assert uids(released) == before


def test_what_is_newer_than_this_release_is_refused_and_left_as_it_is(released: Tiny) -> None:
    layout = released.layout
    check_experiments(released.root, [EXPERIMENT], mend=True)
    for path in (layout.published / "manifest.json", layout.published / "versions" / "4.json"):
        stated = read_json(path)
        write_sealed(path, {**stated, "schema": 99})
        newer = path.read_bytes()
        with pytest.raises(ResourceError, match=rf"{path.name} must be of schema \d or an older one, got 99"):
            read(EXPERIMENT, "images", root=released.root)
        with pytest.raises(ResourceError, match="which a newer release wrote; install that release here, or a later"):
            check_experiments(released.root, [EXPERIMENT], mend=True)
        assert path.read_bytes() == newer
        write_sealed(path, stated)


def test_what_was_removed_there_does_not_come_back(released: Tiny) -> None:
    published = set(released.image_ids())
    (gone,) = [image for id_, image in source_ids(released).items() if published.isdisjoint([id_, *old([id_])])]
    np.save(released.root / "again.npy", gone[None])
    result = ingest(released.layout, released.params, str(released.root / "again.npy"))
    assert (result.n_images, result.duplicates, len(result.quarantined)) == (0, 0, 1)
    assert "was removed from this experiment" in result.quarantined[0][1]
    assert not released.history.lacks_content()


def test_batches_are_renewed_matched_and_mended(released: Tiny) -> None:
    layout, before = released.layout, uids(released)
    check_experiments(released.root, [EXPERIMENT], mend=True)
    (batch,) = renew_batches(layout)
    assert renew_batches(layout) == []
    with ImageStore(layout.batches / batch / "shard.h5") as store:
        renewed = store.image_ids().tolist()
    assert old(renewed) == released.image_ids(batch)
    assert uids(released) == before
    assert check_experiments(released.root, [EXPERIMENT], deep=True)[EXPERIMENT].problems == ()
    again = ingest(layout, released.params, str(released.root / "delivery"))
    assert (again.n_images, again.duplicates) == (0, 6)
    (first,) = {row["model_version"] for row in rows(released, "FROM clusters", version=3)}
    images = layout.batches / batch / "images.parquet"
    of_first = [f"{first}/{batch}/facet_{facet}" for facet in (0, 1)] if has_same_digits(released, first, batch) else []
    for lost in (*of_first, f"shared/{batch}/images"):
        (layout.published / "parts" / f"{lost}.parquet").unlink()
    assert check_experiments(released.root, [EXPERIMENT], mend=True)[EXPERIMENT].problems == ()
    images.unlink()
    assert check_experiments(released.root, [EXPERIMENT], mend=True)[EXPERIMENT].problems == ()
    assert pq.read_table(images)["image_id"].to_pylist() == renewed
    assert uids(released) == before
    assert remove(layout, [], [renewed[0]]).image_ids == (renewed[0],)
    assert released.image_ids(batch) == old(renewed[1:])
    assert remove(layout, [], old([renewed[1]])).image_ids == (renewed[1],)
    assert released.image_ids(batch) == old(renewed[2:])
    files = [*layout.published.rglob("*.parquet"), *layout.batches.rglob("*.parquet")]
    everything = str([pq.read_table(path).to_pydict() for path in files])
    assert [image for image in old(renewed) if image in everything] == old(renewed[2:])


@pytest.mark.no_shapes
def test_its_images_have_ids_of_today_once_another_model_assigns_them(released: Tiny) -> None:
    layout, before = released.layout, uids(released)
    renew_batches(layout)
    params = yaml.safe_load((released.root / "params.yaml").read_text())
    params["experiments"][EXPERIMENT]["seeds"] = [7]
    (released.root / "params.yaml").write_text(yaml.safe_dump(params))
    (released.root / "dvc.lock").unlink()  # the stages run without DVC here
    assert released.rebuild() == 5
    after = uids(released)
    assert old(after) == sorted(before)
    assert not set(after) & set(before)
    assert {row["kind"] for row in rows(released, "FROM lineage WHERE new_version = 5")} & {"kept", "replaced", "split"}
    assert rollback(layout, released.params, 4) == (6, True)
    assert uids(released) == before
    assert rollback(layout, released.params, 5) == (7, True)
    assert uids(released) == after
    assert ingest(layout, released.params, deliver(released, 2)).duplicates == 1
    (gone,) = rows(released, "SELECT image_id FROM images WHERE batch_id = 'train' ORDER BY position LIMIT 1")
    assert remove(layout, [], old(gone.values())).image_ids == tuple(gone.values())
    assert rollback(layout, released.params, 4)[1]
    assert len(released.image_ids()) == 126
    assert not {*gone.values(), *old(gone.values())} & set(released.image_ids())


@pytest.mark.soak
@pytest.mark.parametrize("release", RELEASES)
def test_it_is_rebuilt_under_the_dag_of_today(release: str, tmp_path: Path) -> None:
    released = unpack(release, tmp_path / "released")
    before = uids(released)
    repository = Repository.adopt(released.root)
    result = repository.rebuild()
    assert [stage["action"] for stage in result["stages"]] == ["ran"] * len(STAGES)
    assert result["version"] == 5
    assert old(uids(released)) == sorted(before) == old(released.image_ids())
    (name,) = rows(released, "SELECT DISTINCT minted_by FROM clusters WHERE cluster_uid = 'f0-c003'")
    assert (
        name["minted_by"]
        == json.loads((released.layout.published / "versions" / "3.json").read_text())["model_version"]
    )
    assert repository.stages_run() == []
    repository.commit("rebuilt")
    repository.facets("retrain", EXPERIMENT, "--force")
    assert old(uids(released)) == sorted(before)
    assert not set(uids(released)) & set(before)  # ids of today, all of them
    assert [row["status"] for row in rows(released, "FROM batches")] == ["source", "source", "joined"]
