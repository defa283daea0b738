from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.datasets.prepare.build import prepare_images
from pipeline.datasets.prepare.manifest import scan
from pipeline.datasets.readers.svhn import MatImages, Svhn
from pipeline.datasets.store.images import ImageStore
from tests.datasets.builders import preprocess
from tests.datasets.files import write_mat

REAL = Path(__file__).parents[3] / "shared" / "data" / "svhn" / "first8000_32x32.mat"


def open_svhn(root: Path, **changes: Any) -> Svhn:
    return Svhn(preprocess(source="svhn", **changes), Layout(root, "svhn"))


def test_the_pair_of_files_gives_the_split(tmp_path: Path) -> None:
    folder = tmp_path / "data/raw/svhn"
    images, labels = write_mat(folder / "train_32x32.mat", 12)
    write_mat(folder / "test_32x32.mat", 5, seed=1)
    source = open_svhn(tmp_path)
    source.fetch()
    train, test = source.blocks()
    assert (train.split, test.split, source.n_images()) == ("train", "test", 17)
    assert (np.asarray(train.images) == images).all()
    assert train.labels["digit"].tolist() == (labels % 10).tolist()
    assert train.labels["digit"][9] == 0  # label 10
    assert test.paths[4] == "test_32x32.mat[4]"


def test_a_single_file_is_split_by_position(tmp_path: Path) -> None:
    images, _ = write_mat(tmp_path / "data/raw/svhn/some.mat", 11)
    train, test = open_svhn(tmp_path, test_fraction=0.2).blocks()
    assert [len(train.paths), len(test.paths)] == [8, 3]
    assert (np.asarray(test.images) == images[8:]).all()
    assert test.paths[0] == "some.mat[8]"
    assert (train.split, test.split) == ("train", "test")


def test_a_missing_half_of_the_pair_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mat(tmp_path / "data/raw/svhn/train_32x32.mat", 3)
    asked = []
    monkeypatch.setattr("pipeline.datasets.readers.svhn.download", lambda file, folder: asked.append(file))
    open_svhn(tmp_path).fetch()
    (file,) = asked
    assert file.name == "test_32x32.mat"
    assert file.checksum == "md5:eb5a983be6a315427106f1b164d9cef3"


def test_a_fetched_single_file_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mat(tmp_path / "data/raw/svhn/some.mat", 3)
    monkeypatch.setattr(
        "pipeline.datasets.readers.svhn.download", lambda file, folder: pytest.fail(f"asked for {file}")
    )
    open_svhn(tmp_path).fetch()


def good() -> dict[str, np.ndarray]:
    return {"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.ones((4, 1), np.uint8)}


BAD_CONTENT = [
    ({"X": None}, r"must hold the variables X and y, got \['y'\]"),
    ({"y": None}, r"must hold the variables X and y, got \['X'\]"),
    ({"X": np.zeros((32, 32, 4), np.uint8)}, "X must be uint8 of shape 32×32×3×n, got uint8 of shape 32×32×4;"),
    ({"X": np.zeros((28, 32, 3, 4), np.uint8)}, "X must be uint8 of shape 32×32×3×n, got uint8 of shape 28×32×3×4;"),
    ({"X": np.zeros((32, 32, 3, 4), np.float32)}, "X must be uint8 of shape 32×32×3×n, got float32 of"),
    ({"X": np.array(["a", "b"])}, "X must be uint8 of shape 32×32×3×n, got no real numbers of shape 2×1"),
    ({"y": np.ones((3, 1), np.uint8)}, "y must hold one number for each of 4 images, got uint8 of shape 3×1;"),
    ({"y": np.array(["a", "b", "c", "d"])}, "one number for each of 4 images, got no real numbers of shape 4×1"),
    ({"y": np.ones((4, 1)) * 1j}, "one number for each of 4 images, got no real numbers of shape 4×1"),
    ({"y": np.full((4, 1), 11, np.uint8)}, "whole numbers from 1 to 10, where 10 is the digit 0, got 11; fetch"),
    ({"y": np.zeros((4, 1), np.uint8)}, "whole numbers from 1 to 10, .* got 0;"),
    ({"y": np.full((4, 1), 2.5)}, r"whole numbers from 1 to 10, .* got 2\.5;"),
    ({"y": np.full((4, 1), np.nan)}, "whole numbers from 1 to 10, .* got nan;"),
]


@pytest.mark.parametrize(("change", "message"), BAD_CONTENT)
def test_other_content_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    content = {key: value for key, value in (good() | change).items() if value is not None}
    scipy.io.savemat(tmp_path / "a.mat", content)
    with pytest.raises(DataError, match=message):
        MatImages(tmp_path / "a.mat")


OTHER_FILES = [
    (b"", "must be a MATLAB 5 file, but it does not begin like one"),
    (b"hello" * 100, "must be a MATLAB 5 file, but it does not begin like one"),
    (b"\x89HDF\r\n\x1a\n" + bytes(200), "must be a MATLAB 5 file, got one of version 7.3; save it with '-v7'"),
    (b"MATLAB 7.3 MAT-file" + bytes(200), "must be a MATLAB 5 file, got one of version 7.3; save it with '-v7'"),
    (bytes(124) + b"\0\1IM", r"must hold the variables X and y, got \[\]"),
    (bytes(124) + b"\0\1IM" + b"\7" + bytes(15), "it has an element of kind 7 at byte 128; fetch the file again"),
]


@pytest.mark.parametrize(("content", "message"), OTHER_FILES)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(DataError, match=message):
        MatImages(tmp_path / "a.mat")


@pytest.mark.parametrize("do_compression", [True, False])
def test_every_truncation_is_noticed(tmp_path: Path, do_compression: bool) -> None:
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, good(), do_compression=do_compression)
    data = path.read_bytes()
    for length in range(0, len(data) - 8, 7 if do_compression else 97):
        path.write_bytes(data[:length])
        with pytest.raises(DataError, match=r"a\.mat must"):
            list(MatImages(path).blocks(0, 4, "train"))


def test_blocks_are_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = write_mat(tmp_path / "a.mat", 11)
    monkeypatch.setattr("pipeline.datasets.readers.block.BLOCK_BYTES", 4 * 3072)
    blocks = list(MatImages(tmp_path / "a.mat").blocks(3, 10, "test"))
    assert [block.paths[0] for block in blocks] == ["a.mat[3]", "a.mat[4]", "a.mat[8]"]
    assert (np.concatenate([np.asarray(block.images) for block in blocks]) == images[3:10]).all()
    assert np.concatenate([block.labels["digit"] for block in blocks]).tolist() == (labels[3:10] % 10).tolist()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.mat is missing; put the file there or run facets scan"):
        MatImages(tmp_path / "a.mat")


@pytest.fixture(scope="module")
def mats(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, bytes]:
    path = tmp_path_factory.mktemp("mat") / "a.mat"
    content: dict[bool, bytes] = {}
    for packed in (False, True):
        scipy.io.savemat(path, {"y": np.ones((2, 1), np.uint8), "X": good()["X"][..., :2]}, do_compression=packed)
        content[packed] = path.read_bytes()
    return content


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_fuzzed_files_give_an_error_or_images(tmp_path: Path, mats: dict[bool, bytes], data: st.DataObject) -> None:
    content = bytearray(mats[data.draw(st.booleans())])
    places = st.one_of(st.integers(120, 300), st.integers(0, len(content) - 1))  # headers lie at the beginning
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=8)):
        content[min(place, len(content) - 1)] = value
    path = tmp_path / "a.mat"
    path.write_bytes(bytes(content[: data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))]))
    try:
        file = MatImages(path)
        blocks = list(file.blocks(0, file.n_images, "train"))
    except DataError:
        return
    assert sum(len(block.paths) for block in blocks) == file.n_images
    assert ((file.digits >= 0) & (file.digits <= 9)).all()


@pytest.mark.skipif(not REAL.exists(), reason="no real images: put them at ../shared/data/svhn")
def test_real_images_become_stores(tmp_path: Path) -> None:
    layout, params = Layout(tmp_path, "svhn"), preprocess(source="svhn", test_fraction=0.2)
    (layout.raw / "svhn").mkdir(parents=True)
    (layout.raw / "svhn" / REAL.name).symlink_to(REAL)
    scan(layout, params)
    prepare_images(layout, params)
    with ImageStore(layout.prepared / "train.h5") as train, ImageStore(layout.prepared / "test.h5") as test:
        assert (train.n_images, test.n_images, train.spec.shape) == (6400, 1600, (3, 32, 32))
        brightness = train.read(0, 6400).mean()
    assert brightness == pytest.approx(scipy.io.loadmat(REAL)["X"][..., :6400].mean())
