import json
import shutil
import threading
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.parse import parse
from pipeline.config.sections import Experiment
from pipeline.core.errors import ConfigError, DataError, PublishError
from pipeline.core.groups import FacetGroups, MergeTree, ModelGroups, read_groups, write_groups
from pipeline.core.layout import Layout
from pipeline.core.storage import write_json
from pipeline.operations.locks import publish_lock
from pipeline.operations.page import page_fault
from pipeline.operations.publish import (
    add_batches,
    publish,
    publish_staged,
    refused_model,
    rollback,
    stage_model,
    withdraw,
)
from pipeline.tables import History, query, read
from tests.repository import PROJECT, tiny_experiment
from tests.tables.builders import (
    Bench,
    cycle,
    make_ids,
    write_facets,
    write_images,
    write_model_files,
    write_quarantine,
)

OLD, NEW = "m-aaaaaaaaaaaa", "m-bbbbbbbbbbbb"
EXPERIMENT = parse(Experiment, tiny_experiment(), "toy")


@dataclass(frozen=True)
class Site:
    """A repository whose stages and ingestion are played by hand."""

    root: Path

    @property
    def layout(self) -> Layout:
        return Layout(self.root, "toy")

    @property
    def history(self) -> History:
        return History(self.layout.published)

    @property
    def bench(self) -> Bench:
        return Bench(self.root)

    @property
    def page(self) -> str:
        return (self.layout.published / "report.html").read_text()

    def run_stages(self, model_version=OLD, shift=0, joined=()):
        """Leave what the stages leave: a model, its assignments, scores and the page's assets."""
        layout = self.layout
        ids = {"train": make_ids(60), **{batch: make_ids(10, 100 + 10 * i) for i, batch in enumerate(joined)}}
        ids["test"] = make_ids(20, 60)
        write_model_files(layout.artifact("model"), model_version, ["train", *joined])
        for folder in [layout.artifact("assignments")]:
            for batch_id, of in ids.items():
                clusters = [cycle(len(of), 4, shift), cycle(len(of), 3)]
                write_facets(folder / batch_id, batch_id, model_version, of, clusters)
        write_images(layout.prepared / "images.parquet", ids)
        write_quarantine(layout.prepared / "quarantine.parquet", [("broken.png", "no image")])
        for name in ("score/metrics.json", "report/sprite.png"):
            path = self.root / "artifacts" / "toy" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{name} of {model_version}")
        write_json(layout.artifact("report") / "page.json", {"schema": 1, "images": {"ids": []}})

    def arrive(self, number):
        """Let a batch arrive; its shard itself is nobody's business here."""
        batch_id = f"b-{number}"
        self.bench.write_batch(batch_id, make_ids(10, 100 + 10 * number))
        return batch_id

    def assign(self, batch_ids, model):
        clusters = [cycle(10, 4), cycle(10, 3)]
        return {
            batch_id: self.bench.assign(batch_id, model.name, make_ids(10, 100 + 10 * int(batch_id[2:])), clusters)
            for batch_id in batch_ids
        }

    def remove(self, ids):
        self.layout.removed.parent.mkdir(parents=True, exist_ok=True)
        self.layout.removed.write_text(json.dumps([str(image_id) for image_id in ids]))


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A site with a rebuilt model; its page says which version it shows."""
    monkeypatch.setattr("pipeline.operations.page.compose", write_page)
    site = Site(tmp_path)
    site.run_stages()
    return site


def write_page(published, page):
    path = published / "report.html"
    path.write_text(f"{page.experiment} {page.version} {page.model_version} {len(page.clusters)} {len(page.batches)}")
    return path


def rows(site, name, **options):
    return read("toy", name, root=site.root, engine="arrow", **options).to_pylist()


def test_a_rebuilt_model_is_published_with_its_page(site):
    assert publish(site.layout, EXPERIMENT) == (1, True)
    assert len(rows(site, "facet_0")) == 80
    assert site.page == f"toy 1 {OLD} 7 2"
    assert site.history.check() == []


def test_publishing_again_is_nothing_new(site):
    publish(site.layout, EXPERIMENT)
    page = site.layout.published / "report.html"
    before = page.stat().st_mtime_ns
    assert publish(site.layout, EXPERIMENT) == (1, False)
    assert page.stat().st_mtime_ns == before
    page.write_text("damaged")
    assert publish(site.layout, EXPERIMENT) == (1, False)
    assert site.page == f"toy 1 {OLD} 7 2"


@pytest.mark.parametrize("name", ["static/base.js", "static/page.html", "scores.py"])
def test_a_page_of_other_scripts_is_composed_anew_and_is_no_fault(site, tmp_path, monkeypatch, name):
    publish(site.layout, EXPERIMENT)
    page = site.layout.published / "report.html"
    before = page.stat().st_mtime_ns
    package = tmp_path / "page"
    shutil.copytree(PROJECT / "pipeline" / "page", package)
    monkeypatch.setattr(import_module("pipeline.page.compose"), "_PACKAGE", package)
    assert publish(site.layout, EXPERIMENT) == (1, False)
    assert page.stat().st_mtime_ns == before
    with (package / name).open("a") as file:
        file.write("\n")
    assert page_fault(site.layout) == ""
    assert publish(site.layout, EXPERIMENT) == (1, False)
    assert page.stat().st_mtime_ns > before


def test_a_model_in_service_survives_its_stages(site):
    publish(site.layout, EXPERIMENT)
    model = site.history.model_folder()
    names = {str(path.relative_to(model)) for path in model.rglob("*") if path.is_file()}
    assert names == {
        "model.json",
        "clusters.json",
        "history.csv",
        "params.json",
        "seed-1.safetensors",  # the selected one alone
        "prepared/images.parquet",
        "prepared/quarantine.parquet",
        "score/metrics.json",
        "report/sprite.png",
        "report/page.json",
        *(f"assignments/{batch}/facet_{facet}.parquet" for batch in ("train", "test") for facet in (0, 1)),
        "files.json",  # digests of all of them, and second copies of what nothing else could give back
        *(f"copies/{name}" for name in ("files.json", "model.json", "clusters.json", "history.csv", "params.json")),
        *(f"copies/{name}" for name in ("seed-1.safetensors", "score/metrics.json")),
    }
    assert json.loads((model / "params.json").read_text())["preprocess"]["fit"] == EXPERIMENT.preprocess.fit
    for path in (site.root / "artifacts").rglob("*.*"):
        path.unlink()
    assert publish_staged(site.layout, EXPERIMENT, OLD) == (1, False)
    assert (model / "report" / "sprite.png").read_text() == f"report/sprite.png of {OLD}"


def test_groups_travel_with_their_model(site):
    groups = ModelGroups("seeds", 2, 9, (FacetGroups(1, 1.0, (0, 0), (1.0,), MergeTree(((0, 1),), (0.2,)), 0.4),) * 2)
    write_groups(site.layout.artifact("model"), groups)
    stage_model(site.layout, EXPERIMENT)
    model = site.layout.published / "models" / OLD
    assert read_groups(model) == groups
    assert "groups.json" in json.loads((model / "files.json").read_text())["files"]
    assert (model / "copies" / "groups.json").exists()


def test_staging_again_brings_the_folder_up_to_date(site):
    stage_model(site.layout, EXPERIMENT)
    artifacts = site.root / "artifacts" / "toy"
    (artifacts / "report" / "sprite.png").unlink()
    (artifacts / "report" / "other.png").write_text("new")
    (artifacts / "score" / "metrics.json").unlink()
    (artifacts / "score" / "metrics.json").write_text("better")
    model = site.layout.published / "models" / OLD
    assert stage_model(site.layout, EXPERIMENT) == OLD
    assert sorted(path.name for path in (model / "report").iterdir()) == ["other.png", "page.json"]
    assert (model / "score" / "metrics.json").read_text() == "better"
    assert not list(model.rglob(".*"))


def test_staging_works_where_links_do_not(site, monkeypatch):
    def refuse(*_arguments):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("pipeline.operations.stage_model.os.link", refuse)
    assert publish(site.layout, EXPERIMENT) == (1, True)


@pytest.mark.parametrize("lost", ["artifacts/toy/report", "artifacts/toy/model/clusters.json"])
def test_a_missing_output_is_named(site, lost):
    path = site.root / lost
    (path.rename(site.root / "away"))
    with pytest.raises(DataError, match=f"{path} is missing; run facets rebuild toy"):
        publish(site.layout, EXPERIMENT)
    assert not site.layout.published.exists()


def test_a_model_of_another_experiment_is_refused(site):
    path = site.layout.artifact("model") / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "experiment": "other"}))
    with pytest.raises(PublishError, match="under its own experiment toy, got one of other"):
        publish(site.layout, EXPERIMENT)


def collapsed(site, model_version=NEW):
    """Rebuild to a model in which facet 0 has one cluster only."""
    site.run_stages(model_version)
    path = site.layout.artifact("model") / "model.json"
    model = json.loads(path.read_text())
    model["seeds"][1]["facets"][0] |= {"occupied": 1, "max_share": 1.0, "entropy": 0.0}
    path.write_text(json.dumps(model))
    gate = replace(EXPERIMENT.publish.gate, min_occupied=0.3, max_share=0.5, min_entropy=0.5)
    return replace(EXPERIMENT, publish=replace(EXPERIMENT.publish, gate=gate))


def test_a_collapsed_model_is_refused_and_the_old_version_answers(site):
    publish(site.layout, EXPERIMENT)
    before = rows(site, "facet_0")
    strict = collapsed(site)
    message = rf"{NEW} is not: facet 0: share of occupied .*; facet 0: entropy .*; version 1 stays in service; change"
    with pytest.raises(PublishError, match=message):
        publish(site.layout, strict)
    refused = refused_model(site.layout, strict)
    assert refused is not None
    assert refused["model_version"] == NEW
    assert [reason.partition(" must")[0] for reason in refused["reasons"]][:2] == [
        "facet 0: share of occupied components",
        "facet 0: entropy of the cluster sizes over log K",
    ]
    assert refused_model(site.layout, EXPERIMENT) is None  # with these limits it would be let in
    assert rows(site, "facet_0") == before
    assert site.history.served().model_version == OLD
    assert site.page == f"toy 1 {OLD} 7 2"
    site.run_stages("m-cccccccccccc")
    assert refused_model(site.layout, strict) is None  # nobody has tried it
    assert publish(site.layout, strict) == (2, True)
    assert refused_model(site.layout, strict) is None


def test_a_collapsed_first_model_leaves_nothing_published(site):
    with pytest.raises(PublishError, match="nothing is published yet"):
        publish(site.layout, collapsed(site))
    with pytest.raises(DataError, match="must hold a published version, got none"):
        rows(site, "facet_0")


def test_a_stricter_gate_does_not_touch_the_model_in_service(site):
    collapsed(site)
    publish(site.layout, EXPERIMENT)
    assert publish(site.layout, collapsed(site)) == (1, False)


def test_a_batch_comes_in(site):
    publish(site.layout, EXPERIMENT)
    site.arrive(0)
    assert add_batches(site.layout, ["b-0"], site.assign) == (2, True)
    assert add_batches(site.layout, ["b-0"], site.assign) == (2, False)
    assert len(rows(site, "facet_1")) == 90
    assert site.page == f"toy 2 {OLD} 7 3"


def test_a_new_model_covers_every_batch(site):
    publish(site.layout, EXPERIMENT)
    for number in range(3):
        add_batches(site.layout, [site.arrive(number)], site.assign)
    asked = []

    def assign(batch_ids, model):
        asked.extend((batch_id, model.name) for batch_id in batch_ids)
        return site.assign(batch_ids, model)

    site.run_stages(NEW, shift=1, joined=["b-0"])
    assert publish(site.layout, EXPERIMENT, assign) == (5, True)
    assert asked == [("b-1", NEW), ("b-2", NEW)]
    assert {row["batch_id"]: row["status"] for row in rows(site, "batches")} == {
        "train": "source",
        "test": "source",
        "b-0": "joined",
        "b-1": "live",
        "b-2": "live",
    }
    assert {row["model_version"] for row in rows(site, "facet_0")} == {NEW}
    assert len(rows(site, "facet_0")) == 110
    assert publish(site.layout, EXPERIMENT, assign) == (5, False)
    assert len(asked) == 2


def test_batches_that_come_in_during_a_publish_are_covered(site):
    publish(site.layout, EXPERIMENT)
    add_batches(site.layout, [site.arrive(0)], site.assign)
    asked = []

    def assign(batch_ids, model):
        if not asked:  # while the first is assigned, another one is ingested
            asked.append("ingest")
            add_batches(site.layout, [site.arrive(1)], site.assign)
        asked.extend(batch_ids)
        return site.assign(batch_ids, model)

    site.run_stages(NEW)
    publish(site.layout, EXPERIMENT, assign)
    assert asked == ["ingest", "b-0", "b-1"]
    assert {row["batch_id"] for row in rows(site, "facet_0")} == {"train", "test", "b-0", "b-1"}
    assert {row["model_version"] for row in rows(site, "facet_0")} == {NEW}


def test_a_batch_is_assigned_again_when_the_model_changes_meanwhile(site):
    publish(site.layout, EXPERIMENT)
    asked = []

    def assign(batch_ids, model):
        folders = site.assign(batch_ids, model)
        if not asked:
            site.run_stages(NEW)
            publish(site.layout, EXPERIMENT)
        asked.append(model.name)
        return folders

    site.arrive(0)
    add_batches(site.layout, ["b-0"], assign)
    assert asked == [OLD, NEW]
    assert {row["model_version"] for row in rows(site, "facet_0")} == {NEW}
    assert site.history.check() == []


def test_nothing_can_join_before_a_model_is_published(site):
    with pytest.raises(PublishError, match="must hold a published version, got none; run facets rebuild toy first"):
        add_batches(site.layout, [site.arrive(0)], site.assign)


def test_rollback_is_a_new_version_of_the_old_model_over_all_images(site):
    publish(site.layout, EXPERIMENT)
    before = {row["image_id"]: row["cluster_uid"] for row in rows(site, "facet_0")}
    site.run_stages(NEW, shift=2)
    publish(site.layout, EXPERIMENT)
    add_batches(site.layout, [site.arrive(0)], site.assign)
    site.remove(make_ids(2))
    withdraw(site.layout)
    assert rollback(site.layout, EXPERIMENT, 1, site.assign) == (5, True)
    after = {row["image_id"]: row["cluster_uid"] for row in rows(site, "facet_0")}
    assert len(after) == 88
    assert {image: uid for image, uid in after.items() if image in before}.items() <= before.items()
    assert site.history.served().reason == "rollback"
    assert site.history.served().model_version == OLD
    assert site.page.startswith(f"toy 5 {OLD}")
    assert rollback(site.layout, EXPERIMENT, 1, site.assign) == (5, False)
    assert site.history.check() == []


def test_rollback_needs_a_version_and_its_model(site):
    publish(site.layout, EXPERIMENT)
    with pytest.raises(ConfigError, match=r"version must be one of those kept \(1\), got 7"):
        rollback(site.layout, EXPERIMENT, 7)
    site.run_stages(NEW)
    publish(site.layout, EXPERIMENT)
    (site.layout.published / "models" / OLD).rename(site.root / "away")
    with pytest.raises(PublishError, match=f"model {OLD} must lie in"):
        rollback(site.layout, EXPERIMENT, 1)


def test_removed_images_leave_and_stay_out(site):
    publish(site.layout, EXPERIMENT)
    gone = make_ids(3)
    site.remove(gone)
    assert withdraw(site.layout) == (2, True)
    assert withdraw(site.layout) == (2, False)
    assert site.page.startswith("toy 2")
    # the artifacts still hold them until the next rebuild
    assert publish(site.layout, EXPERIMENT) == (2, False)
    site.run_stages(NEW)
    publish(site.layout, EXPERIMENT)
    assert len(rows(site, "images")) == 77
    assert set(gone).isdisjoint(row["image_id"] for row in rows(site, "facet_0"))


def test_removing_before_the_first_version_is_no_fault(site):
    site.remove(make_ids(1))
    assert withdraw(site.layout) == (0, False)


def test_pictures_of_removed_images_are_blanked(site, monkeypatch):
    blanked = []

    def erase(folder, ids):
        blanked.append((str(folder.relative_to(site.root)), set(ids)))
        return 1

    monkeypatch.setattr("pipeline.operations.page.erase_images", erase)
    publish(site.layout, EXPERIMENT)
    add_batches(site.layout, [site.arrive(0)], site.assign)
    for folder in (site.history.model_folder() / "report", site.layout.batches / "b-0" / "thumbnails"):
        folder.mkdir(exist_ok=True)
        (folder / "page.json").write_text(json.dumps({"schema": 1, "images": {"ids": make_ids(2).tolist()}}))
    gone = set(make_ids(1).tolist())
    site.remove(gone)
    withdraw(site.layout)
    places = {f"published/toy/models/{OLD}/report", "data/batches/toy/b-0/thumbnails"}
    assert {place for place, _ in blanked} == places
    assert all(ids == gone for _, ids in blanked)


def test_the_page_catches_up_after_a_kill(site, monkeypatch):
    publish(site.layout, EXPERIMENT)

    def killed(*_arguments):
        raise KeyboardInterrupt

    site.run_stages(NEW)
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.operations.page.compose", killed)
        with pytest.raises(KeyboardInterrupt):
            publish(site.layout, EXPERIMENT)
    assert site.history.served().version == 2
    assert site.page == f"toy 1 {OLD} 7 2"
    assert publish(site.layout, EXPERIMENT) == (2, False)
    assert site.page == f"toy 2 {NEW} 7 2"


def test_names_reach_the_page(site, monkeypatch):
    pages = []

    def note(published, page):
        pages.append(page)
        return write_page(published, page)

    monkeypatch.setattr("pipeline.operations.page.compose", note)
    publish(site.layout, EXPERIMENT)
    site.history.set_name(site.layout.names, "f0-c002", "two", "a note")
    add_batches(site.layout, [site.arrive(0)], site.assign)
    named = [cluster for cluster in pages[-1].clusters if cluster.name]
    assert [(cluster.cluster_uid, cluster.name, cluster.note) for cluster in named] == [("f0-c002", "two", "a note")]
    batch = pages[-1].batches[-1]
    assert (batch.batch_id, batch.created) == ("b-0", "2026-11-01T12:00:00+00:00")
    assert batch.sizes == [[3, 3, 2, 2], [4, 3, 3]]
    found = query("toy", "SELECT name FROM clusters WHERE cluster_uid = 'f0-c002'", root=site.root, engine="arrow")
    assert found.to_pylist() == [{"name": "two"}]


def test_changes_wait_for_the_lock(site):
    publish(site.layout, EXPERIMENT)
    site.arrive(0)
    done = []
    with publish_lock(site.layout, "test"):
        thread = threading.Thread(target=lambda: done.append(add_batches(site.layout, ["b-0"], site.assign)))
        thread.start()
        thread.join(0.3)
        assert done == []
        assert site.history.served().version == 1
    thread.join()
    assert done == [(2, True)]


def test_two_batches_at_once_both_come_in(site):
    publish(site.layout, EXPERIMENT)
    for number in (0, 1):
        site.arrive(number)
    threads = [threading.Thread(target=add_batches, args=(site.layout, [f"b-{i}"], site.assign)) for i in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert site.history.served().version == 3
    assert np.unique([row["batch_id"] for row in rows(site, "facet_0")]).tolist() == ["b-0", "b-1", "test", "train"]
