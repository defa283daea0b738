"""Ingestion into a published experiment: real images, real model, real tables."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from pipeline.core.errors import BusyError, ConfigError, DataError, PublishError
from pipeline.core.layout import Layout
from pipeline.core.storage import read_json, write_json
from pipeline.datasets.store.images import ImageStore
from pipeline.model import load_model
from pipeline.model.precision import multiplies_bfloat16
from pipeline.operations.ingest import ingest
from pipeline.operations.locks import batches_lock
from pipeline.operations.remove import remove
from pipeline.operations.shards import unpublished
from pipeline.tables import read
from tests.cli.calling import Facets
from tests.operations.tiny import EXPERIMENT, Tiny, new_images
from tests.repository import tiny_experiment, write_images

pytestmark = pytest.mark.no_shapes  # the tests of deliveries and assignments check them


def save(path: Path, images: np.ndarray) -> str:
    np.save(path, images)
    return str(path)


def test_new_images_become_rows_of_the_published_model(tiny: Tiny, tmp_path: Path) -> None:
    before = tiny.image_ids()
    result = ingest(tiny.layout, tiny.params, save(tmp_path / "new.npy", new_images(80)))
    assert (result.n_images, result.duplicates, result.quarantined) == (80, 0, ())
    assert result.version == 2
    assert result.batch_id is not None
    assert sorted([*before, *tiny.image_ids(result.batch_id)]) == tiny.image_ids()
    folder = tiny.layout.batches / result.batch_id
    with ImageStore(folder / "shard.h5") as store:
        stored = store.image_ids().tolist()
    row = next(row for row in tiny.history.rows("batches") if row["batch_id"] == result.batch_id)
    assert (row["status"], row["n_images"], row["duplicates"], row["quarantined"]) == ("live", 80, 0, 0)
    assert row["drift"] == list(result.drift or ())
    assert len(row["drift"]) == 2
    assert sorted(stored) == tiny.image_ids(result.batch_id)
    page = read_json(folder / "thumbnails" / "page.json")
    assert page["images"]["ids"] == stored[:48]
    assert result.batch_id in (tiny.layout.published / "report.html").read_text()


def test_rows_are_what_the_model_says_of_each_image(tiny: Tiny, tmp_path: Path) -> None:
    images = new_images(60)
    result = ingest(tiny.layout, tiny.params, save(tmp_path / "new.npy", images))
    precision = torch.bfloat16 if multiplies_bfloat16(torch.device("cpu")) else torch.float32
    model = load_model(tiny.history.model_folder(), precision=precision)
    expected = model.assign(torch.from_numpy(images[:, None]), "exact")
    for facet, assignment in enumerate(expected):
        rows = read(EXPERIMENT, f"facet_{facet}", root=tiny.root)
        rows = rows[rows["batch_id"] == result.batch_id]
        places = read(EXPERIMENT, "images", root=tiny.root).set_index("image_id").loc[rows["image_id"], "position"]
        np.testing.assert_array_equal(rows["cluster_id"], assignment.cluster_id[places])
        np.testing.assert_allclose(rows["confidence"], assignment.confidence[places], rtol=1e-5)
        np.testing.assert_allclose(rows["typicality"], assignment.typicality[places], rtol=1e-4, atol=1e-4)


def test_the_same_content_adds_nothing_and_half_of_it_adds_the_other_half(tiny: Tiny, tmp_path: Path) -> None:
    images = new_images(60)
    first = ingest(tiny.layout, tiny.params, save(tmp_path / "a.npy", images[:40]))
    again = ingest(tiny.layout, tiny.params, save(tmp_path / "b.npy", images[39::-1]))
    assert (again.batch_id, again.n_images, again.duplicates, again.version) == (None, 0, 40, first.version)
    half = ingest(tiny.layout, tiny.params, save(tmp_path / "c.npy", images[20:]))
    assert (half.n_images, half.duplicates) == (20, 20)
    twice = ingest(tiny.layout, tiny.params, save(tmp_path / "d.npy", np.repeat(new_images(5, seed=3), 2, axis=0)))
    assert (twice.n_images, twice.duplicates) == (5, 5)
    source = ingest(tiny.layout, tiny.params, str(tiny.root / "data" / "own" / "images.npz"))
    assert (source.n_images, source.duplicates) == (0, 120)
    assert len(tiny.image_ids()) == 120 + 65


def test_the_source_that_is_kept_says_the_same_from_anywhere(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk" / "a").mkdir(parents=True)
    (tmp_path / "mount").symlink_to("disk")
    images = new_images(40)
    save(tmp_path / "disk" / "blob.npy", images[:20])
    (tmp_path / "disk" / "blob.npy").rename(tmp_path / "disk" / "blob")
    (tmp_path / "disk" / "link.npy").symlink_to("blob")
    np.save(tmp_path / "disk" / "a" / "file.npy", images[20:])
    monkeypatch.chdir(tmp_path)
    for given, kept in (
        ("mount/a/../link.npy", "disk/link.npy"),
        ("./disk/a/../../mount/a/file.npy", "disk/a/file.npy"),
    ):
        result = ingest(tiny.layout, tiny.params, str(Path(given).absolute()))
        row = next(row for row in tiny.history.rows("batches") if row["batch_id"] == result.batch_id)
        assert row["source"] == result.source == str(tmp_path.resolve() / kept)


def test_bad_files_are_set_aside_with_a_reason_and_the_rest_goes_on(tiny: Tiny, tmp_path: Path) -> None:
    folder = tmp_path / "delivery"
    folder.mkdir()
    for i, image in enumerate(new_images(6)):
        Image.fromarray(image).save(folder / f"{i}.png")
    (folder / "5.png").write_bytes((folder / "5.png").read_bytes()[:60])
    (folder / "empty.png").touch()
    result = ingest(tiny.layout, tiny.params, str(folder))
    assert result.n_images == 5
    assert {file for file, _ in result.quarantined} == {"5.png", "empty.png"}
    table = read(EXPERIMENT, "quarantine", root=tiny.root)
    kept = table[table["batch_id"] == result.batch_id]
    assert dict(zip(kept["file"], kept["reason"], strict=True)) == dict(result.quarantined)
    tiny.image_ids()
    again = ingest(tiny.layout, tiny.params, str(folder))  # the same folder with nothing new is no news
    assert (again.batch_id, again.duplicates, again.quarantined, again.version) == (None, 5, result.quarantined, 2)
    assert len(read(EXPERIMENT, "quarantine", root=tiny.root)) == 2
    (folder / "late.png").touch()
    for _ in range(2):  # a file that is refused only now is listed, and once
        again = ingest(tiny.layout, tiny.params, str(folder))
        assert (again.batch_id, again.duplicates, len(again.quarantined), again.version) == (None, 5, 3, 3)
        (row,) = [row for row in tiny.history.rows("batches") if row["status"] == "empty"]
        assert (row["source"], row["n_images"], row["duplicates"], row["quarantined"]) == (str(folder), 0, 5, 1)
        table = read(EXPERIMENT, "quarantine", root=tiny.root)
        assert table[table["batch_id"] == row["batch_id"]]["file"].tolist() == ["late.png"]
        assert row["batch_id"] in (tiny.layout.published / "report.html").read_text()
    tiny.image_ids()
    (listed,) = [row["batch_id"] for row in tiny.history.rows("batches") if row["status"] == "empty"]
    with pytest.raises(ConfigError, match="holds no image"):
        remove(tiny.layout, [listed])


def test_images_of_other_sizes_and_channels_are_brought_to_the_models(tiny: Tiny, tmp_path: Path) -> None:
    folder = tmp_path / "delivery"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for i, shape in enumerate([(16, 12, 3), (30, 31, 3), (8, 8)]):
        Image.fromarray(generator.integers(0, 255, shape, dtype=np.uint8)).save(folder / f"{i}.png")
    result = ingest(tiny.layout, tiny.params, str(folder))
    assert result.n_images == 3
    images = read(EXPERIMENT, "images", root=tiny.root)
    rows = images[images["batch_id"] == result.batch_id]
    assert list(zip(rows["height"], rows["width"], strict=True)) == [(16, 12), (30, 31), (8, 8)]


def test_a_model_of_an_earlier_release_whose_other_sections_had_other_keys_takes_images(
    tiny: Tiny, tmp_path: Path
) -> None:
    path = tiny.history.model_folder() / "params.json"
    for seal in ("files.json", "copies/files.json"):  # nor did it state digests
        (path.parent / seal).unlink()
    params = read_json(path)
    del params["publish"]["cluster"]
    del params["train"]
    write_json(path, {**params, "plots": {"colours": 10}})
    assert ingest(tiny.layout, tiny.params, save(tmp_path / "new.npy", new_images(20))).n_images == 20
    write_json(path, {name: section for name, section in params.items() if name != "assign"})
    with pytest.raises(ConfigError, match=r"params.json: assign must be a section with keys, got None"):
        ingest(tiny.layout, tiny.params, save(tmp_path / "other.npy", new_images(20, seed=9)))


def test_a_shifted_batch_is_marked_and_a_small_one_is_not_measured(tiny: Tiny, tmp_path: Path) -> None:
    shifted = ingest(tiny.layout, tiny.params, save(tmp_path / "a.npy", 255 - new_images(60)))
    assert shifted.drifted
    assert max(shifted.drift or ()) > 2
    small = ingest(tiny.layout, tiny.params, save(tmp_path / "b.npy", new_images(19, seed=5)))
    assert (small.drift, small.drifted) == (None, None)
    rows = {row["batch_id"]: row for row in tiny.history.rows("batches")}
    assert rows[shifted.batch_id]["drifted"] is True
    assert rows[small.batch_id]["drifted"] is None


def test_a_delivery_without_usable_images_changes_nothing(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert ingest(tiny.layout, tiny.params, str(tmp_path / "empty")).is_unusable
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(DataError, match=r"must be a folder of images or end in"):
        ingest(tiny.layout, tiny.params, str(tmp_path / "text.png"))
    with pytest.raises(DataError, match=r"is missing"):
        ingest(tiny.layout, tiny.params, str(tmp_path / "nothing"))
    assert tiny.history.served().version == 1
    assert list(tiny.layout.batches.glob("*")) == []


def test_without_a_published_version_nothing_can_join(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(PublishError, match=r"must hold a published version, got none"):
        ingest(Layout(tmp_path, EXPERIMENT), tiny.params, str(tmp_path))


def test_ingestions_of_one_experiment_take_turns(tiny: Tiny, tmp_path: Path) -> None:
    path = save(tmp_path / "a.npy", new_images(5))
    with batches_lock(tiny.layout, "ingest elsewhere"), pytest.raises(BusyError, match=r"ingest elsewhere"):
        ingest(tiny.layout, tiny.params, path)
    assert ingest(tiny.layout, tiny.params, path).n_images == 5


def test_a_batch_that_was_not_published_is_completed_by_the_next_run(tiny: Tiny, tmp_path: Path) -> None:
    from pipeline.operations import ingest as module

    path = save(tmp_path / "a.npy", new_images(30))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "add_batches", _fail)
        with pytest.raises(RuntimeError, match="killed"):
            ingest(tiny.layout, tiny.params, path)
    (left,) = unpublished(tiny.layout)
    assert tiny.history.served().version == 1
    result = ingest(tiny.layout, tiny.params, save(tmp_path / "b.npy", new_images(10, seed=9)))
    assert result.completed == (left,)
    assert result.n_images == 10
    assert len(tiny.image_ids(left)) == 30
    assert ingest(tiny.layout, tiny.params, path).duplicates == 30


@pytest.mark.no_shapes
def test_a_new_model_covers_all_batches_and_one_that_came_in_otherwise_gives_way(tiny: Tiny, tmp_path: Path) -> None:
    from pipeline.operations import ingest as module

    joined = ingest(tiny.layout, tiny.params, save(tmp_path / "a.npy", new_images(30))).batch_id
    live = ingest(tiny.layout, tiny.params, save(tmp_path / "b.npy", new_images(25, seed=2))).batch_id
    images = new_images(20, seed=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "add_batches", _fail)
        with pytest.raises(RuntimeError, match="killed"):
            ingest(tiny.layout, tiny.params, save(tmp_path / "c.npy", images))
    source = tiny.root / "data" / "own" / "images.npz"
    with np.load(source) as arrays:
        longer: Any = {name: np.concatenate([values, values[:5]]) for name, values in arrays.items()}
    longer["images"][-5:] = images[:5]
    np.savez(source, **longer)
    write_json(tiny.layout.joined, [joined])
    old = tiny.history.served().model_version
    tiny.rebuild()
    assert tiny.history.served().model_version != old
    rows = {row["batch_id"]: row for row in tiny.history.rows("batches")}
    assert (rows[joined]["status"], rows[joined]["n_images"]) == ("joined", 30)
    assert (rows[live]["status"], rows[live]["n_images"]) == ("live", 25)
    assert len(tiny.image_ids()) == 125 + 55
    result = ingest(tiny.layout, tiny.params, save(tmp_path / "d.npy", new_images(3, seed=4)))
    assert len(result.completed) == 1
    assert len(tiny.image_ids(result.completed[0])) == 15
    assert len(tiny.image_ids()) == 125 + 55 + 15 + 3


def _fail(*_: object) -> None:
    raise RuntimeError("killed")


# --- whose fault it is ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("refresh_page", DataError("damaged")),
        ("draw_thumbnails", OSError(28, "No space left on device")),
        ("log_run", OSError(28, "No space left on device")),
        ("read_record", KeyError("version")),
    ],
)
def test_once_the_rows_are_in_no_fault_says_otherwise(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: Exception
) -> None:
    from pipeline.operations import ingest as module
    from pipeline.operations import publish

    place: Any = publish if step == "refresh_page" else module
    work = getattr(place, step)

    def fail(*arguments: Any, **options: Any) -> Any:
        if step != "read_record" or tiny.history.served().version == 2:
            raise error
        return work(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(place, step, fail)
        result = ingest(tiny.layout, tiny.params, save(tmp_path / "a.npy", new_images(30)))
    assert (result.n_images, result.version, len(result.faults)) == (30, 2, 1)
    assert str(error.args[-1]) in result.faults[0]
    assert len(tiny.image_ids(result.batch_id)) == 30
    after = ingest(tiny.layout, tiny.params, save(tmp_path / "b.npy", new_images(5, seed=9)))
    assert (after.faults, after.completed) == ((), ())
    assert str(result.batch_id) in (tiny.layout.published / "report.html").read_text()


@pytest.mark.parametrize("damaged", ["removed", "hashes", "model", "params"])
def test_damage_to_files_of_the_experiment_is_not_blamed_on_the_delivery(
    tiny: Tiny, tmp_path: Path, damaged: str
) -> None:
    model = tiny.history.model_folder()
    path = {
        "removed": tiny.layout.removed,
        "hashes": next(tiny.layout.published.glob("parts/content/*.hashes")),
        "model": model / "model.json",
        "params": model / "params.json",
    }[damaged]
    path.write_bytes(b"{")
    with pytest.raises(PublishError):
        ingest(tiny.layout, tiny.params, save(tmp_path / "a.npy", new_images(5)))


def test_a_left_batch_that_cannot_be_published_holds_up_nothing(tiny: Tiny, tmp_path: Path) -> None:
    from pipeline.operations import ingest as module

    for name, seed in (("a", 1), ("b", 2)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "publish_batches", lambda *arguments: _fail() if arguments[2] else [])
            patch.setattr(module, "unpublished", lambda _: [])
            with pytest.raises(RuntimeError, match="killed"):
                ingest(tiny.layout, tiny.params, save(tmp_path / f"{name}.npy", new_images(20, seed=seed)))
    bad, good = unpublished(tiny.layout)
    (tiny.layout.batches / bad / "shard.h5").write_bytes(b"no longer")
    result = ingest(tiny.layout, tiny.params, save(tmp_path / "c.npy", new_images(10, seed=9)))
    assert (result.n_images, result.completed) == (10, (good,))
    assert result.faults[0].startswith(f"batch {bad}, which an earlier run had left, cannot be published: ")


def test_names_that_are_no_utf8_come_in_and_are_told_apart(tiny: Tiny, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9 \x1b[31m")
    folder.mkdir()
    for name, image in zip((b"\xe8.png", b"\xe9.png", b"a\x1b.png"), new_images(3), strict=True):
        Image.fromarray(image).save(folder / os.fsdecode(name))
    (folder / os.fsdecode(b"bad\xff.png")).touch()
    result = ingest(tiny.layout, tiny.params, str(folder))
    assert (result.n_images, result.quarantined[0][0]) == (3, "bad\\xff.png")
    images = read(EXPERIMENT, "images", root=tiny.root)
    assert sorted(images[images["batch_id"] == result.batch_id]["path"]) == ["\\xe8.png", "\\xe9.png", "a\x1b.png"]
    assert result.faults == ()


def test_names_of_files_never_command_the_terminal(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tiny.root)
    facets = Facets(monkeypatch, capfd)
    name = "\x1b]0;owned\x07\nfacets: all is well\u202e" + os.fsdecode(b"\x9b\xff")
    folder = tmp_path / f"delivery{name}"
    folder.mkdir()
    (folder / f"bad{name}.png").touch()
    Image.fromarray(np.full((8, 8), 77, np.uint8)).save(folder / f"good{name}.png")
    calls = [
        facets("ingest", EXPERIMENT, str(folder)),
        facets("ingest", EXPERIMENT, str(folder), "--json"),
        facets("batches", EXPERIMENT),
        facets("query", EXPERIMENT, "select path, file from images, quarantine where path like 'good%'"),
        facets("query", EXPERIMENT, "select path from images where path like 'good%'", "--json"),
        facets("ingest", EXPERIMENT, str(folder / "missing")),
    ]
    assert [call.code for call in calls] == [0, 0, 0, 0, 0, 3]
    for call in calls:
        shown = (call.out + call.err).replace("\n", "")
        assert shown.isprintable(), ascii(shown)
        assert not any(line.startswith("facets: all is well") for line in (call.out + call.err).splitlines())
    answer = json.loads(calls[1].out)
    stored = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    assert answer["quarantined"][0][0] == f"bad{stored}.png"
    assert json.loads(calls[4].out) == [{"path": f"good{stored}.png"}]
    log = (tiny.root / ".work" / "logs" / "runs.jsonl").read_text().splitlines()
    assert all(line.isprintable() and json.loads(line) for line in log)


def test_a_bad_file_of_the_training_folder_is_listed_once(tmp_path: Path) -> None:
    folder, root = tmp_path / "images", tmp_path / "project"
    folder.mkdir()
    write_images(root)
    for i, image in enumerate(np.load(root / "images.npz")["images"]):
        Image.fromarray(image).save(folder / f"{i}.png")
    (folder / "empty.png").touch()
    sections = tiny_experiment()
    sections["preprocess"] |= {"source": "folder", "path": str(folder), "labels": None}
    (root / "params.yaml").write_text(yaml.safe_dump({"active": [EXPERIMENT], "experiments": {EXPERIMENT: sections}}))
    tiny = Tiny(root)
    tiny.rebuild()
    again = ingest(tiny.layout, tiny.params, str(folder))
    assert (again.duplicates, len(again.quarantined), again.version) == (120, 1, 1)
    assert read(EXPERIMENT, "quarantine", root=root)["file"].tolist() == ["empty.png"]
