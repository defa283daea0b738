import gzip
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.datasets.readers.mnist import Mnist, read_idx
from tests.datasets.builders import preprocess
from tests.datasets.files import idx_bytes, write_mnist

pytestmark = pytest.mark.xdist_group("torchvision")  # which takes seconds to import

REAL = Path(__file__).parents[3] / "shared" / "data" / "mnist"
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def open_mnist(root: Path) -> Mnist:
    return Mnist(preprocess(source="mnist"), Layout(root, "mnist"))


@pytest.mark.parametrize("packed", [True, False])
def test_images_labels_and_splits_come_back(tmp_path: Path, packed: bool) -> None:
    content = write_mnist(tmp_path / "data/raw/mnist", packed=packed)
    source = open_mnist(tmp_path)
    source.fetch()
    train, test = source.blocks()
    assert (train.split, test.split) == ("train", "test")
    assert (np.asarray(train.images)[:, 0] == content[IMAGES]).all()
    assert (test.labels["digit"] == content["t10k-labels-idx1-ubyte"]).all()
    assert test.paths[9] == "t10k-images-idx3-ubyte[9]"
    assert source.n_images() == 40


def test_blocks_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = write_mnist(tmp_path / "data/raw/mnist")
    monkeypatch.setattr("pipeline.datasets.readers.block.BLOCK_BYTES", 7 * 16)
    blocks = list(open_mnist(tmp_path).blocks())
    assert [len(block.paths) for block in blocks] == [7, 7, 7, 7, 2, 7, 3]
    joined = np.concatenate([np.asarray(block.images) for block in blocks[:5]])
    assert (joined[:, 0] == content[IMAGES]).all()
    assert blocks[4].labels["digit"].tolist() == content[LABELS][28:].tolist()


def damage_magic(data: bytes) -> bytes:
    return b"\0\0\x0d" + data[3:]


def damage_length(data: bytes) -> bytes:
    return data[:-1]


def damage_tail(data: bytes) -> bytes:
    return data + b"\0"


def damage_header(data: bytes) -> bytes:
    return data[:9]


def damage_sides(data: bytes) -> bytes:
    return data[:8] + bytes(8) + data[16:]


DAMAGES: list[tuple[Callable[[bytes], bytes], str]] = [
    (damage_magic, r"must be an IDX file of unsigned bytes with 3 axes \(magic 00000803\), got magic 00000d03"),
    (damage_length, r"must hold 496 bytes, as its header says \(30×4×4\), got 495; fetch the file again"),
    (damage_tail, r"must hold 496 bytes, as its header says \(30×4×4\), got at least 497"),
    (damage_header, "must begin with 16 bytes of IDX header, got 9 bytes"),
    (damage_sides, "must hold images of at least one pixel, got 0×0"),
    (lambda _: b"", "must begin with 16 bytes of IDX header, got 0 bytes"),
]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_damaged_files_are_refused(
    tmp_path: Path, damage: Callable[[bytes], bytes], message: str, packed: bool
) -> None:
    folder = tmp_path / "data/raw/mnist"
    content = write_mnist(folder, packed=False)
    data = damage(idx_bytes(content[IMAGES]))
    (folder / IMAGES).unlink()
    path = folder / (f"{IMAGES}.gz" if packed else IMAGES)
    path.write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(DataError, match=message):
        list(open_mnist(tmp_path).blocks())


def test_labels_in_place_of_images_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "data/raw/mnist"
    write_mnist(folder, packed=False)
    (folder / IMAGES).write_bytes((folder / LABELS).read_bytes())
    with pytest.raises(DataError, match=r"with 3 axes .* got magic 00000801"):
        list(open_mnist(tmp_path).blocks())


def test_counts_must_match(tmp_path: Path) -> None:
    folder = tmp_path / "data/raw/mnist"
    write_mnist(folder, packed=False)
    (folder / LABELS).write_bytes(idx_bytes(np.zeros(29, np.uint8)))
    with pytest.raises(DataError, match="the same number of entries, got 30 images and 29 labels; fetch both again"):
        list(open_mnist(tmp_path).blocks())


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_truncated_gzip_is_refused(tmp_path: Path, keep: float) -> None:
    folder = tmp_path / "data/raw/mnist"
    write_mnist(folder)
    path = folder / f"{IMAGES}.gz"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(DataError, match=r"must be a complete gzip file, but .*; fetch the file again"):
        list(open_mnist(tmp_path).blocks())


def test_a_corrupt_gzip_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "data/raw/mnist"
    write_mnist(folder)
    path = folder / f"{IMAGES}.gz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"must be a complete gzip file, but .*; fetch the file again"):
        list(open_mnist(tmp_path).blocks())


def test_plain_bytes_named_gz_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "data/raw/mnist"
    content = write_mnist(folder)
    (folder / f"{IMAGES}.gz").write_bytes(idx_bytes(content[IMAGES]))
    with pytest.raises(DataError, match="must be a complete gzip file, but Not a gzipped file"):
        list(open_mnist(tmp_path).blocks())


def test_a_small_gzip_cannot_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx_bytes(np.zeros((1, 2, 2), np.uint8)) + bytes(10**7)))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"must hold 20 bytes, .* got at least 21"):
            read_idx(path, 3)
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "data/raw/mnist"
    write_mnist(folder, packed=False)
    (folder / LABELS).unlink()
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte \(or .gz\) is missing; run facets scan"):
        list(open_mnist(tmp_path).blocks())


def test_missing_files_are_downloaded_with_the_known_checksums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path / "data/raw/mnist")
    (tmp_path / f"data/raw/mnist/{LABELS}.gz").unlink()
    asked = []
    monkeypatch.setattr("pipeline.datasets.readers.mnist.download", lambda file, folder: asked.append((file, folder)))
    open_mnist(tmp_path).fetch()
    ((file, folder),) = asked
    assert file.name == f"{LABELS}.gz"
    assert file.checksum == "md5:d53e105ee54ea40749a09fcbcd1e9432"
    assert len(file.urls) >= 2
    assert all(url.endswith(f"/{LABELS}.gz") for url in file.urls)
    assert folder == tmp_path / "data/raw/mnist"


def test_no_images_are_no_fault_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a-idx3-ubyte"
    path.write_bytes(idx_bytes(np.zeros((0, 4, 4), np.uint8)))
    assert read_idx(path, 3).shape == (0, 4, 4)


@pytest.mark.parametrize("name", ["a-idx3-ubyte", "a-idx3-ubyte.gz"])
def test_a_header_beyond_any_memory_is_an_error(tmp_path: Path, name: str) -> None:
    header = idx_bytes(np.zeros((1, 1, 1), np.uint8))[:4] + np.array([2**31 + 5, 2**31, 2**18], ">u4").tobytes()
    path = tmp_path / name
    path.write_bytes(gzip.compress(header) if name.endswith(".gz") else header)
    with pytest.raises(DataError, match=r"must hold 12089258\d+ bytes, as its header says .* got 16"):
        read_idx(path, 3)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_fuzzed_files_give_an_error_or_the_right_pixels(tmp_path: Path, data: st.DataObject) -> None:
    values = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    good = idx_bytes(values)
    packed = data.draw(st.booleans())
    content = bytearray(gzip.compress(good, mtime=0) if packed else good)
    for place, value in data.draw(st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)))):
        content[place] = value
    content = content[: data.draw(st.integers(0, len(content)))] + data.draw(st.binary(max_size=5))
    path = tmp_path / ("a-idx3-ubyte.gz" if packed else "a-idx3-ubyte")
    path.write_bytes(bytes(content))
    try:
        found = read_idx(path, 3)
    except DataError:
        return
    plain = gzip.decompress(bytes(content)) if packed else bytes(content)
    assert idx_bytes(found) == plain


@pytest.mark.skipif(not REAL.exists(), reason="no real files: put them at ../shared/data/mnist")
def test_the_real_test_images_agree_with_torchvision(tmp_path: Path) -> None:
    from torchvision.datasets.mnist import read_image_file

    path = REAL / "t10k-images-idx3-ubyte.gz"
    (tmp_path / "plain").write_bytes(gzip.decompress(path.read_bytes()))
    assert (read_idx(path, 3) == read_image_file(str(tmp_path / "plain")).numpy()).all()
