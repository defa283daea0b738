from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.datasets.prepare.build import prepare_images
from pipeline.datasets.prepare.manifest import scan
from pipeline.datasets.readers.factors import FACTORS, select_factors
from pipeline.datasets.readers.shapes3d import Shapes3d, Shapes3dFile
from pipeline.datasets.store.images import ImageStore
from pipeline.datasets.store.labels import read_labels
from tests.datasets.builders import preprocess
from tests.datasets.files import write_shapes

FEW = "floor_hue=2,wall_hue=5,object_hue=6,scale=3"  # 4 shapes × 15 orientations


@pytest.fixture(scope="module")
def shapes_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    path = tmp_path_factory.mktemp("shapes") / "3dshapes.h5"
    return path, write_shapes(path, select_factors(FEW))


def test_images_and_labels_come_back(shapes_file: tuple[Path, np.ndarray]) -> None:
    path, images = shapes_file
    reader = Shapes3dFile(path, FEW)
    (block,) = reader.blocks()
    assert (np.asarray(block.images) == images.transpose(0, 3, 1, 2)).all()
    assert list(block.labels) == ["shape", "orientation"]  # what does not vary is no label
    assert block.labels["shape"].tolist() == np.repeat(np.arange(4), 15).tolist()
    assert block.labels["orientation"].tolist() == list(range(15)) * 4
    assert reader.n_images() == 60
    assert reader.class_names() == {"shape": ["cube", "cylinder", "sphere", "capsule"]}


def test_a_part_of_the_file_is_chosen_by_its_factors(shapes_file: tuple[Path, np.ndarray]) -> None:
    path, images = shapes_file
    reader = Shapes3dFile(path, f"{FEW},orientation=14")
    (block,) = reader.blocks()
    assert (np.asarray(block.images) == images[14::15].transpose(0, 3, 1, 2)).all()
    assert list(block.labels) == ["shape"]
    assert block.paths[1] == "3dshapes.h5[29]"


def test_only_windows_with_chosen_rows_are_read(
    shapes_file: tuple[Path, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, images = shapes_file
    monkeypatch.setattr("pipeline.datasets.readers.shapes3d._WINDOW", 10)
    read: list[slice] = []
    original = h5py.Dataset.__getitem__

    def note(self: h5py.Dataset, key: object, *more: object) -> object:
        if str(self.name) == "/images" and isinstance(key, slice):
            read.append(key)
        return original(self, key, *more)

    monkeypatch.setattr(h5py.Dataset, "__getitem__", note)
    blocks = list(Shapes3dFile(path, f"{FEW},shape=1").blocks())  # rows 15 to 29
    assert [(part.start, part.stop) for part in read] == [(15, 20), (20, 30)]
    joined = np.concatenate([np.asarray(block.images) for block in blocks])
    assert (joined == images[15:30].transpose(0, 3, 1, 2)).all()


def test_rows_may_lie_in_any_order(tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(60)
    factors = select_factors(FEW)[order]
    images = write_shapes(tmp_path / "a.h5", factors)
    (block,) = Shapes3dFile(tmp_path / "a.h5", FEW).blocks()
    assert block.labels["orientation"].tolist() == factors[:, 5].tolist()
    assert (np.asarray(block.images) == images.transpose(0, 3, 1, 2)).all()


def test_every_hue_and_scale_gets_its_own_label(tmp_path: Path) -> None:
    selection = "object_hue=0,shape=0,orientation=0,floor_hue=1"
    write_shapes(tmp_path / "a.h5", select_factors(selection))
    (block,) = Shapes3dFile(tmp_path / "a.h5", selection).blocks()
    assert np.bincount(block.labels["wall_hue"]).tolist() == [8] * 10
    assert np.bincount(block.labels["scale"]).tolist() == [10] * 8


def test_prepared_images_are_means_of_blocks(shapes_file: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    path, images = shapes_file
    layout = Layout(tmp_path, "shapes3d_1")
    params = preprocess(source="shapes3d", factors=FEW, size=(32, 32), test_fraction=0.2)
    (layout.raw / "shapes3d").mkdir(parents=True)
    (layout.raw / "shapes3d/3dshapes.h5").symlink_to(path)
    scan(layout, params)
    prepare_images(layout, params)
    with ImageStore(layout.prepared / "train.h5") as train, ImageStore(layout.prepared / "test.h5") as test:
        assert (train.n_images, test.n_images) == (48, 12)
        found = np.concatenate([train.read(0, 48), test.read(0, 12)])
    means = images.transpose(0, 3, 1, 2).reshape(60, 3, 32, 2, 32, 2).mean(axis=(3, 5))
    wanted = np.floor(means + 0.5).astype(np.uint8)
    assert sorted(image.tobytes() for image in found) == sorted(image.tobytes() for image in wanted)
    assert set(read_labels(layout.prepared, "test")[1]) == {"shape", "orientation"}


def test_an_absent_combination_is_named(shapes_file: tuple[Path, np.ndarray]) -> None:
    path, _ = shapes_file
    message = "got 15 fewer, e.g. without floor_hue=2, wall_hue=5, object_hue=6, scale=4, shape=1, orientation=0"
    with pytest.raises(DataError, match=f"must hold the 15 factor combinations of .*{message}; choose other factors"):
        list(Shapes3dFile(path, "floor_hue=2,wall_hue=5,object_hue=6,scale=4,shape=1").blocks())


def test_the_file_is_downloaded_when_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(
        "pipeline.datasets.readers.shapes3d.download", lambda file, folder: asked.append((file, folder))
    )
    Shapes3d(preprocess(source="shapes3d", factors="configuration_1"), Layout(tmp_path, "s")).fetch()
    ((file, folder),) = asked
    assert (file.name, folder) == ("3dshapes.h5", tmp_path / "data/raw/shapes3d")
    assert file.checksum == "md5:099a2078d58cec4daad0702c55d06868"


def test_a_configuration_has_4800_images(tmp_path: Path) -> None:
    source = Shapes3d(preprocess(source="shapes3d", factors="configuration_2"), Layout(tmp_path, "s"))
    assert source.n_images() == 4800


def write_file(path: Path, **datasets: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file.create_dataset(name, data=values)
    return path


IMAGES = np.zeros((2, 64, 64, 3), np.uint8)
LABELS = np.zeros((2, len(FACTORS)))

BAD_FILES = [
    ({"labels": LABELS}, "must hold the dataset 'images', got .*'labels'.*; fetch the right file"),
    ({"images": IMAGES}, "must hold the dataset 'labels', got .*'images'"),
    (
        {"images": IMAGES[:, :32], "labels": LABELS},
        r"images must be uint8 of shape \(n, 64, 64, 3\) .*got uint8 of shape \(2, 32",
    ),
    ({"images": IMAGES.astype(np.float32), "labels": LABELS}, r"images must be uint8 .*got float32"),
    ({"images": IMAGES[0], "labels": LABELS}, r"images must be uint8 of shape .*got uint8 of shape \(64, 64, 3\)"),
    (
        {"images": IMAGES, "labels": LABELS[:1]},
        r"labels must be floats of shape \(images, 6\), got float64 of shape \(1, 6\)",
    ),
    ({"images": IMAGES, "labels": LABELS[:, :5]}, r"got float64 of shape \(2, 5\)"),
    ({"images": IMAGES, "labels": LABELS.astype(np.int64)}, "labels must be floats of shape .*got int64"),
    ({"images": IMAGES, "labels": LABELS + 0.05}, "labels of floor_hue must be one of 0, 0.1"),
    ({"images": IMAGES, "labels": LABELS * np.nan}, "labels of floor_hue must be one of 0, 0.1"),
]


@pytest.mark.parametrize(("datasets", "message"), BAD_FILES)
def test_other_layouts_are_refused(tmp_path: Path, datasets: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(Shapes3dFile(write_file(tmp_path / "a.h5", **datasets), FEW).blocks())


def test_a_group_is_no_dataset(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("images")
    with pytest.raises(DataError, match="must hold the dataset 'images'"):
        list(Shapes3dFile(tmp_path / "a.h5", FEW).blocks())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.h5 is missing; put the file there"):
        list(Shapes3dFile(tmp_path / "a.h5", FEW).blocks())


@pytest.mark.parametrize("content", [b"", b"no HDF5 at all" * 100])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.h5 must be a complete HDF5 file, but .*; fetch the file again"):
        list(Shapes3dFile(tmp_path / "a.h5", FEW).blocks())


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.h5").mkdir()
    with pytest.raises(DataError, match=r"must be an HDF5 file, got a folder|must be a complete HDF5 file"):
        list(Shapes3dFile(tmp_path / "a.h5", FEW).blocks())


def test_a_truncated_file_is_refused(shapes_file: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    data = shapes_file[0].read_bytes()
    (tmp_path / "a.h5").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="must be a complete HDF5 file, but"):
        list(Shapes3dFile(tmp_path / "a.h5", FEW).blocks())


def test_damaged_pixels_are_noticed(shapes_file: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    data = bytearray(shapes_file[0].read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(64)
    (tmp_path / "a.h5").write_bytes(bytes(data))
    with pytest.raises(DataError, match="must be a complete HDF5 file, but"):
        list(Shapes3dFile(tmp_path / "a.h5", FEW).blocks())


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_fuzzed_files_give_an_error_or_images(
    shapes_file: tuple[Path, np.ndarray], tmp_path: Path, data: st.DataObject
) -> None:
    content = bytearray(shapes_file[0].read_bytes())
    places = st.one_of(st.integers(0, 4000), st.integers(0, len(content) - 1))  # most structure lies at the beginning
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=8)):
        content[place] = value
    (tmp_path / "a.h5").write_bytes(bytes(content))
    try:
        blocks = list(Shapes3dFile(tmp_path / "a.h5", FEW).blocks())
    except DataError:
        return
    assert sum(len(block.paths) for block in blocks) >= 60
    assert all(np.asarray(block.images).shape[1:] == (3, 64, 64) for block in blocks)
