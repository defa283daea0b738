"""Images through a frozen network: features and pictures of them, trained, published, and the same for new images."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from pipeline.backbones.onnx_file import OnnxFile
from pipeline.core.errors import ConfigError, DataError, PipelineError
from pipeline.core.storage import read_json, write_json
from pipeline.datasets.delivery.preparation import model_spec
from pipeline.datasets.prepare.build import prepare_images
from pipeline.datasets.prepare.manifest import scan
from pipeline.datasets.store.images import ImageStore
from pipeline.datasets.store.spec import Embedder
from pipeline.operations.fixed_params import require_fixed_params
from pipeline.operations.ingest import ingest
from pipeline.operations.shard_faults import content_fault, shard_faults
from pipeline.report import erase_images
from pipeline.report.packing import unpack
from pipeline.report.sprites import Sheet
from pipeline.tables import read
from stages import preprocess
from tests.backbones.onnx_models import pooled
from tests.operations.tiny import EXPERIMENT, Tiny
from tests.repository import tiny_experiment

SIDE, THUMBNAIL = 16, 4
WEIGHTS = "pooled.onnx"


def write_pictures(folder: Path, n: int, seed: int) -> None:
    """Write photographs of one of three colours each, in files named by it, of differing sizes."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        height, width = rng.integers(SIDE, 2 * SIDE, 2)
        pixels = rng.integers(0, 60, (height, width, 3), dtype=np.uint8)
        pixels[..., i % 3] += 150
        Image.fromarray(pixels).save(folder / f"{i % 3}-{seed}-{i}.png")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    root = tmp_path_factory.mktemp("photographs")
    sections = tiny_experiment()
    sections["seeds"] = [0]
    features = {"backbone": "onnx", "weights": WEIGHTS, "batch_size": 7}
    sections["preprocess"] |= {"source": "folder", "path": "own", "labels": None, "size": [THUMBNAIL, THUMBNAIL]}
    sections["preprocess"] |= {"features": features}
    sections["model"] |= {"output": "linear", "sigma": 1.0, "n_components": [3, 3]}
    sections["score"] |= {"baselines": False}
    (root / "params.yaml").write_text(yaml.safe_dump({"active": [EXPERIMENT], "experiments": {EXPERIMENT: sections}}))
    experiment = Tiny(root)
    for path in (experiment.layout.joined, experiment.layout.removed):
        path.parent.mkdir(parents=True)
        write_json(path, [])
    write_pictures(root / "own", 90, 0)
    (root / "own" / "broken.png").write_bytes(b"no picture")
    (root / WEIGHTS).write_bytes(pooled())
    assert experiment.rebuild() == 1
    return experiment


@pytest.fixture
def experiment(published: Tiny, tmp_path: Path) -> Tiny:
    return published.copy(tmp_path / "copy")


def read_cells(folder: Path, sheet: Sheet) -> np.ndarray:
    """Return the pictures of a sheet."""
    cells = []
    for index in range(sheet.count):
        file, top, left = sheet.cell_corner(index)
        with Image.open(folder / sheet.files[file]) as image:
            mosaic = np.asarray(image.convert("RGB"))
        top, left = top + sheet.gutter, left + sheet.gutter
        cells.append(mosaic[top : top + sheet.height, left : left + sheet.width])
    return np.stack(cells)


def pictures_by_path(experiment: Tiny, store: ImageStore) -> Iterator[tuple[Path, np.ndarray, np.ndarray]]:
    """Yield file, features and picture of every row."""
    paths = read(EXPERIMENT, "images", root=experiment.root).set_index("image_id")["path"]
    rows = np.arange(store.n_images)
    columns = zip(store.image_ids().tolist(), store.take(rows), store.take_pictures(rows), strict=True)
    for image_id, features, picture in columns:
        yield experiment.root / "own" / paths[image_id], features.reshape(-1), picture


def test_the_store_holds_what_the_network_makes_of_each_file_and_a_picture_of_it(published: Tiny) -> None:
    backbone = OnnxFile("", published.root / WEIGHTS)
    for split in ("train", "test"):
        with ImageStore(published.layout.prepared / f"{split}.h5") as store:
            assert store.spec.embedder == Embedder("onnx", backbone.sha256)
            assert store.picture_shape == (3, THUMBNAIL, THUMBNAIL)
            for path, features, picture in pictures_by_path(published, store):
                with Image.open(path) as image:
                    seen = np.asarray(image.resize((8, 8), Image.Resampling.BILINEAR))
                np.testing.assert_allclose(features, backbone.embed(seen.transpose(2, 0, 1)[None])[0], atol=1e-6)
                means = torch.nn.functional.avg_pool2d(torch.from_numpy(seen.transpose(2, 0, 1).copy()).float(), 2)
                assert np.abs(picture - means.numpy()).max() <= 0.5
    assert model_spec(published.history.model_folder()).embedder == Embedder("onnx", backbone.sha256)
    (refused,) = read(EXPERIMENT, "quarantine", root=published.root)["file"]
    assert refused == "broken.png"


def test_what_the_model_makes_up_is_shown_as_real_images_which_go_when_they_are_removed(experiment: Tiny) -> None:
    report = experiment.history.model_folder() / "report"
    page = read_json(report / "page.json")
    assert page["image_shape"] == [3, THUMBNAIL, THUMBNAIL]
    places = {sheet: unpack(values) for sheet, values in page["nearest"].items()}
    assert {sheet: len(found) for sheet, found in places.items()} == {
        "generated": 2 * 3 * 2,
        "imagined": len(page["crosses"][0]["row_ids"]) * len(page["crosses"][0]["column_ids"]),
        "swaps": 2 * len(page["swaps"]["anchors"]) ** 2,
    }
    sheets = {name: Sheet.from_json(sheet) for name, sheet in page["sheets"].items()}
    before = {name: read_cells(report, sheet) for name, sheet in sheets.items()}
    for name, found in places.items():
        assert np.abs(before[name].astype(int) - before["images"][found]).mean() < 8  # sheets are compressed

    gone = int(places["generated"][0])
    erase_images(report, [page["images"]["ids"][gone]])
    for name, found in places.items():
        cells = read_cells(report, sheets[name])
        assert not cells[found == gone].any()
    text = (experiment.layout.published / "report.html").read_text()
    assert "the real image that all facets together place nearest to the mixture" in text


def test_new_images_go_through_the_same_network_once_each(experiment: Tiny) -> None:
    delivery = experiment.root / "new"
    write_pictures(delivery, 31, 1)
    (delivery / "copy.png").write_bytes((experiment.root / "own" / "0-0-0.png").read_bytes())
    (delivery / "broken.png").write_bytes(b"no picture")
    result = ingest(experiment.layout, experiment.params, "new")
    assert (result.n_images, result.duplicates, len(result.quarantined), result.faults) == (31, 1, 1, ())
    images = read(EXPERIMENT, "images", root=experiment.root).set_index("image_id")["path"]
    facet = read(EXPERIMENT, "facet_1", root=experiment.root).set_index("image_id")["cluster_id"]
    assert (
        len({(images[image][0], cluster) for image, cluster in facet.items()}) == 3
    )  # one cluster a colour, old and new
    assert shard_faults(experiment.layout) == []
    folder = experiment.layout.batches / str(result.batch_id)
    assert content_fault(folder) == ""
    assert list((folder / "thumbnails").iterdir())

    # Its features, and pictures at the size of today, join the next training set.
    with ImageStore(folder / "shard.h5") as shard:
        batch = dict(zip(shard.image_ids().tolist(), shard.read(0, 31), strict=True))
    write_json(experiment.layout.joined, [result.batch_id])
    params = replace(experiment.params, preprocess=replace(experiment.params.preprocess, size=(2, 2)))
    preprocess.run(experiment.layout, params)
    with ImageStore(experiment.layout.prepared / "train.h5") as store:
        joined = np.flatnonzero(store.batch_ids() == result.batch_id)
        assert len(joined) == 31
        assert store.picture_shape == (3, 2, 2)
        for image_id, features in zip(store.image_ids()[joined], store.take(joined), strict=True):
            assert np.array_equal(features, batch[image_id])


def test_new_images_through_other_weights_are_refused_and_nothing_is_written(experiment: Tiny) -> None:
    write_pictures(experiment.root / "new", 3, 1)
    weights = experiment.root / WEIGHTS
    for content, message in (
        (
            pooled(out=("other", 12)),
            r"must go through onnx with weights \w{12}, by whose features m-.* got onnx",
        ),
        (b"hello", "must be a complete ONNX file, but"),
        (None, "is missing; put the weights there"),
    ):
        weights.unlink()
        if content is not None:
            weights.write_bytes(content)
        else:
            assert not weights.exists()
        with pytest.raises(PipelineError, match=message) as error:
            ingest(experiment.layout, experiment.params, "new")
        assert "\n" not in str(error.value)
        assert not list(experiment.layout.batches.glob("b-*"))
        weights.touch()


def test_rows_are_no_images_for_a_network(experiment: Tiny) -> None:
    np.save(experiment.root / "x.npy", np.zeros((20, 12), np.float32))
    with pytest.raises(DataError, match="must hold images, of which the model in service takes features, got rows"):
        ingest(experiment.layout, experiment.params, "x.npy")
    own = replace(experiment.params.preprocess, source="npy", path="x.npy")
    scan(experiment.layout, own)
    with pytest.raises(DataError, match="takes images, got rows of numbers, which are features already"):
        prepare_images(experiment.layout, own)


def test_another_network_needs_another_experiment(experiment: Tiny) -> None:
    own = experiment.params.preprocess
    features = own.features
    assert features is not None
    require_fixed_params(experiment.layout, replace(own, features=replace(features, batch_size=1)))
    for changed in (None, replace(features, backbone="efficientnet_lite0", weights=None)):
        with pytest.raises(ConfigError, match=r"preprocess\.features of tiny must stay onnx, .* got"):
            require_fixed_params(experiment.layout, replace(own, features=changed))
