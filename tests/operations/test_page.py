"""What the page of a published experiment says of files, and what it does not where it must not."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline import show
from pipeline.core.layout import Layout
from pipeline.core.storage import read_json, write_json
from pipeline.operations.deliveries import finish_delivery
from pipeline.operations.ingest import ingest
from pipeline.operations.locks import publish_lock
from pipeline.operations.page import refresh_page, show_rejected
from pipeline.operations.page_files import exact_copies, image_files, set_aside
from pipeline.page import rows
from pipeline.report.packing import unpack
from tests.operations.tiny import Tiny, new_images
from tests.tables.builders import Bench, make_ids, write_quarantine

pytestmark = pytest.mark.no_shapes  # the tests of deliveries and assignments check them


def data_of(tiny: Tiny) -> dict[str, Any]:
    found = re.search(r'id="data">(.*?)</script>', (tiny.layout.published / "report.html").read_text(), re.DOTALL)
    assert found
    return json.loads(found[1])


def deliver(folder: Path, seed: int) -> Path:
    (folder / "night").mkdir(parents=True)
    for number, image in enumerate(new_images(4, seed)):
        Image.fromarray(image).save(folder / "night" / f"owl {number}.png")
    for name in ("empty 1.png", "empty 2.png"):
        (folder / name).touch()
    (folder / "cut.png").write_bytes((folder / "night" / "owl 0.png").read_bytes()[:40])
    return folder


def test_names_are_shown_until_somebody_says_otherwise_and_after_that_never(tiny: Tiny, tmp_path: Path) -> None:
    first = deliver(tmp_path / "secret place", 1)
    ingest(tiny.layout, tiny.params, str(first))
    data = data_of(tiny)
    assert all(path.startswith("images.npz[") for path in data["files"]["paths"])
    assert data["files"]["roots"] == []  # one file of many images
    (batch,) = (batch for batch in data["batches"] if batch["status"] == "live")
    assert sorted(batch["thumbnails"]["files"]["paths"]) == [f"night/owl {n}.png" for n in range(4)]
    assert batch["thumbnails"]["files"]["roots"] == [f"{first.resolve().as_uri()}/"]
    assert {(row["reason"].split(";")[0], row["count"]) for row in data["aside"]} >= {("is empty (0 bytes)", 2)}
    assert sum(row["count"] for row in data["aside"]) == 3
    with publish_lock(tiny.layout, "test"):
        refresh_page(tiny.layout, force=True, names_files=False)
    ingest(tiny.layout, tiny.params, str(deliver(tmp_path / "secret too", 2)))
    text = (tiny.layout.published / "report.html").read_text()
    assert [word for word in ("secret", "night/owl", "empty 1.png", "images.npz") if word in text] == []
    assert data_of(tiny)["files"] is None
    assert sum(row["count"] for row in data_of(tiny)["aside"]) == 6
    with publish_lock(tiny.layout, "test"):
        refresh_page(tiny.layout, force=True, names_files=True)
    assert "night/owl 3.png" in (tiny.layout.published / "report.html").read_text()


def test_what_lies_rejected_is_shown_as_long_as_it_lies_there(tiny: Tiny) -> None:
    path = tiny.layout.inbox / "broken.npy"
    path.parent.mkdir(parents=True)
    path.touch()
    rejected = finish_delivery(tiny.layout, path, [f"{path} is empty; deliver it again"])
    show_rejected(tiny.layout)
    (shown,) = data_of(tiny)["rejected"]
    assert shown == {"name": rejected.name, "reason": f"{rejected} is empty; deliver it again"}
    rejected.unlink()  # what was said of it stays
    show_rejected(tiny.layout)
    assert data_of(tiny)["rejected"] == []


def test_delivered_images_are_counted_wherever_pairs_of_clusters_and_clusters_are(tiny: Tiny, tmp_path: Path) -> None:
    ingest(tiny.layout, tiny.params, str(deliver(tmp_path / "night", 1)))
    n_images = tiny.history.served().n_images
    (pair,), (cross,) = data_of(tiny)["dependence"], data_of(tiny)["crosses"]
    assert pair["images"] == unpack(cross["counts"]).sum() == n_images
    figure = show.clusters(tiny.layout.experiment, 0, n_images=1, root=tiny.layout.root).to_dict()
    sizes = [int(title.split("(")[1].rstrip(")")) for title in figure["layout"]["yaxis"]["ticktext"]]
    assert sum(sizes) == n_images


@pytest.mark.parametrize(
    ("source", "path", "expected"),
    [
        ("folder", "data/my pictures", "file://{root}/data/my%20pictures/"),
        ("folder", "/data/ünder 100%", "file:///data/%C3%BCnder%20100%25/"),
        ("folder", "https://example.org/pictures/", "https://example.org/pictures/"),
        ("folder", "s3://bucket/pictures", None),
        ("zip", "data/pictures.zip", None),
    ],
)
def test_only_folders_that_a_browser_can_open_have_an_address(
    tiny: Tiny, source: str, path: str, expected: str | None
) -> None:
    model = tiny.history.model_folder()
    params = read_json(model / "params.json")
    params["preprocess"] |= {"source": source, "path": path}
    folder = tiny.root / "model"  # not sealed, so that its parameters may be others
    (folder / "report").mkdir(parents=True)
    write_json(folder / "params.json", params)
    write_json(folder / "report" / "page.json", read_json(model / "report" / "page.json"))
    found = image_files(tiny.layout, folder, [])
    wanted = {} if expected is None else dict.fromkeys(("train", "test"), expected.format(root=tiny.root.resolve()))
    assert found.roots == wanted
    assert set(found.images) == set(read_json(model / "report" / "page.json")["images"]["ids"])


def test_an_emptied_delivery_and_one_of_an_archive_have_no_address(tiny: Tiny, tmp_path: Path) -> None:
    folder = deliver(tmp_path / "delivery", 3)
    result = ingest(tiny.layout, tiny.params, str(folder))
    thumbnails = tiny.layout.batches / str(result.batch_id) / "thumbnails"
    batch = rows.BatchRow(str(result.batch_id), "live", None, str(folder), 4, 3, 0, None, None, None, thumbnails)
    model = tiny.history.model_folder()
    assert image_files(tiny.layout, model, [batch]).roots == {str(result.batch_id): f"{folder.as_uri()}/"}
    for source in ("https://example.org/x", "relative", None, str(tmp_path / "elsewhere")):
        assert image_files(tiny.layout, model, [replace(batch, source=source)]).roots == {}


def test_reasons_and_copies_are_counted(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    ids = {"train": np.array([*make_ids(4), f"{make_ids(1)[0]}-2", f"{make_ids(1)[0]}-3"]), "test": make_ids(2, 9)}
    clusters = {batch: [np.zeros(len(of), int), np.zeros(len(of), int)] for batch, of in ids.items()}
    model = bench.write_model("m-aaaaaaaaaaaa", clusters, ids)
    refused = [(f"big {n}.png", f"has {n}000 pixels, more than 100; reduce it") for n in range(1, 9)]
    write_quarantine(model / "prepared" / "quarantine.parquet", [*refused, ("notes.txt", "is no image; PNG is read")])
    bench.publish("m-aaaaaaaaaaaa")
    layout = Layout(tmp_path, bench.experiment)
    found = set_aside(layout, with_names=True)
    # Reasons that differ in numbers alone are one.
    assert [(row.reason, row.count) for row in found] == [
        ("has … pixels, more than …; reduce it", 8),
        ("is no image; PNG is read", 1),
    ]
    assert found[0].files == [f"big {n}.png" for n in range(1, 6)]
    assert [tuple(row.files) for row in set_aside(layout, with_names=False)] == [(), ()]
    assert exact_copies(layout) == 2
