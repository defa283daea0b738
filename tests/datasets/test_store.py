import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from pipeline.core.errors import DataError, ResourceError
from pipeline.core.image_ids import HASH_DTYPE, format_ids
from pipeline.datasets.decoding.decode import encode_png
from pipeline.datasets.decoding.transform import ImageTransform
from pipeline.datasets.store.images import ImageStore
from pipeline.datasets.store.spec import InputSpec
from pipeline.datasets.store.writer import write_store

SHAPE = (3, 5, 4)
SPEC = InputSpec.pixels(SHAPE)


def make_images(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *SHAPE), np.uint8)


def make_ids(n: int) -> np.ndarray:
    return format_ids(np.array([number.to_bytes(16, "big") for number in range(n)], HASH_DTYPE), np.ones(n, np.int64))


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    path = tmp_path / "train.h5"
    images, ids = make_images(40), make_ids(40)
    with write_store(path, SPEC, source="digits", split_rule="any") as writer:
        for start, stop in ((0, 7), (7, 7), (7, 40)):
            writer.append(images[start:stop], ids[start:stop], np.array(["train"] * (stop - start)))
    return path


def test_rows_come_back(store_path: Path) -> None:
    with ImageStore(store_path) as store:
        assert store.n_images == 40
        assert store.spec == SPEC
        assert (store.read(3, 11) == make_images(40)[3:11]).all()
        assert store.read(5, 5).shape == (0, *SHAPE)
        assert store.image_ids(2, 4).tolist() == [f"i-{2:032x}", f"i-{3:032x}"]
        assert set(store.batch_ids()) == {"train"}
        stated = json.dumps(SPEC.describe(), sort_keys=True)
        assert store.attributes == {"schema": 2, "source": "digits", "split_rule": "any", "input": stated}


def test_take_reads_single_rows_across_chunks(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 1, 300, 200), np.uint8)  # 17 rows a chunk
    with write_store(tmp_path / "a.h5", InputSpec.pixels((1, 300, 200)), source="npy", split_rule="any") as writer:
        for start in range(0, 50, 20):
            part = images[start : start + 20]
            writer.append(part, make_ids(50)[start : start + 20], np.array(["train"] * len(part)))
    rows = np.array([0, 16, 17, 18, 33, 34, 49])
    with ImageStore(tmp_path / "a.h5") as store:
        assert (store.take(rows) == images[rows]).all()
        assert store.take(np.empty(0, np.int64)).shape == (0, 1, 300, 200)


@pytest.mark.parametrize("rows", [[3, 2], [1, 1], [-1, 2], [39, 40]])
def test_take_refuses_other_than_increasing_rows(store_path: Path, rows: list[int]) -> None:
    with ImageStore(store_path) as store, pytest.raises(ValueError, match="strictly increasing within 0 and 40"):
        store.take(np.array(rows))


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (4, 3), (0, 41)])
def test_read_refuses_rows_outside(store_path: Path, start: int, stop: int) -> None:
    with ImageStore(store_path) as store, pytest.raises(ValueError, match="rows must lie within 0 and 40"):
        store.read(start, stop)


def test_a_transform_is_applied_to_what_is_read(store_path: Path) -> None:
    with ImageStore(store_path, ImageTransform((5, 2), "stretch", "grey")) as store:
        assert store.spec == InputSpec.pixels((1, 5, 2))
        assert store.read(0, 3).shape == (3, 1, 5, 2)
        assert (store.take(np.array([1, 2])) == store.read(1, 3)).all()


def test_images_of_differing_sizes_are_kept_as_bytes(tmp_path: Path) -> None:
    sizes = [(4, 4), (8, 4), (4, 8)]
    images = [np.full((1, *size), 50 * i, np.uint8) for i, size in enumerate(sizes)]
    with write_store(tmp_path / "shard.h5", None, source="folder", split_rule="batch") as writer:
        writer.append([encode_png(image) for image in images], make_ids(3), np.array(["b-0123456789ab"] * 3))
    with ImageStore(tmp_path / "shard.h5", ImageTransform((4, 4), "stretch", "source")) as store:
        assert store.read(0, 3)[:, 0, 0, 0].tolist() == [0, 50, 100]
        assert store.take(np.array([2])).shape == (1, 1, 4, 4)
        assert store.encoded(1, 2) == [encode_png(images[1])]
    with ImageStore(tmp_path / "shard.h5") as store, pytest.raises(ValueError, match="open it with a transform"):
        _ = store.spec


def test_encoded_bytes_come_back_however_they_were_appended(tmp_path: Path) -> None:
    data = [bytes([i]) * (3 * i + 1) for i in range(7)]
    with write_store(tmp_path / "shard.h5", None, source="folder", split_rule="batch") as writer:
        for start, stop in ((0, 1), (1, 5), (5, 7)):
            writer.append(data[start:stop], make_ids(7)[start:stop], np.array(["b-0123456789ab"] * (stop - start)))
    with ImageStore(tmp_path / "shard.h5") as store:
        assert all(store.encoded(i, j) == data[i:j] for i in range(8) for j in range(i, 8))
    with h5py.File(tmp_path / "shard.h5", "r+") as file:
        file["encoded"].resize(20, axis=0)  # pyright: ignore
    with pytest.raises(DataError, match=r"must hold 70 bytes of images, got uint8 of shape \(20,\); rebuild it"):
        ImageStore(tmp_path / "shard.h5")


def test_the_same_images_make_the_same_bytes(tmp_path: Path) -> None:
    for name, step in (("a.h5", 3), ("b.h5", 40)):
        with write_store(tmp_path / name, SPEC, source="digits", split_rule="any") as writer:
            for start in range(0, 40, step):
                ids = make_ids(40)[start : start + step]
                writer.append(make_images(40)[start : start + step], ids, np.array(["train"] * len(ids)))
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_nothing_appears_when_writing_fails(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="stop"),
        write_store(tmp_path / "a.h5", SPEC, source="digits", split_rule="any"),
    ):
        raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.h5 is missing; run stage preprocess"):
        ImageStore(tmp_path / "train.h5")


def test_a_truncated_store_is_refused(store_path: Path) -> None:
    store_path.write_bytes(store_path.read_bytes()[:3000])
    with pytest.raises(DataError, match="must be a complete HDF5 file"):
        ImageStore(store_path)


def test_a_newer_schema_is_refused(store_path: Path) -> None:
    with h5py.File(store_path, "r+") as file:
        file.attrs["schema"] = 9
    with pytest.raises(ResourceError, match="must be of schema 2 or an older one, got 9, which a newer release wrote"):
        ImageStore(store_path)


def test_a_missing_column_is_named(store_path: Path) -> None:
    with h5py.File(store_path, "r+") as file:
        del file["batch_id"]
    with pytest.raises(DataError, match="must hold the dataset batch_id, got"):
        ImageStore(store_path)


def test_ids_must_match_images(store_path: Path) -> None:
    with h5py.File(store_path, "r+") as file:
        file["image_id"].resize(39, axis=0)  # pyright: ignore
    with pytest.raises(DataError, match=r"must hold one id an image, got lengths .*'image_id': 39"):
        ImageStore(store_path)


@pytest.mark.parametrize(("shape", "dtype"), [((40, 5, 4), np.uint8), ((40, *SHAPE), np.float32)])
@pytest.mark.parametrize("schema", [1, 2])
def test_other_pixels_are_refused(store_path: Path, shape: tuple[int, ...], dtype: type, schema: int) -> None:
    with h5py.File(store_path, "r+") as file:
        del file["images"]
        file.create_dataset("images", shape, dtype, chunks=True)
        file.attrs["schema"] = schema
    with pytest.raises(
        DataError, match=r"(chunked uint8 of shape N×3×5×4, got|input.shape must be a list of 3, got \(5, 4\))"
    ):
        ImageStore(store_path)


def test_a_store_of_the_first_schema_holds_pixels(store_path: Path) -> None:
    with h5py.File(store_path, "r+") as file:
        file.attrs["schema"] = 1
        del file.attrs["input"]
    with ImageStore(store_path) as store:
        assert store.spec == SPEC
        assert (store.read(0, 40) == make_images(40)).all()


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ("{", "must state what its images are, but"),
        ("[]", "but input must be a section with keys"),
        (
            json.dumps({**SPEC.describe(), "kind": "sounds"}),
            "but input.kind must be one of pixels, features, got 'sounds'",
        ),
        (json.dumps({**SPEC.describe(), "dtype": "float32"}), "but input: pixels must be of type uint8, got float32"),
        (json.dumps({**SPEC.describe(), "is_bounded": False}), "but input: bytes must be bounded"),
    ],
)
def test_other_inputs_are_refused(store_path: Path, stated: str, message: str) -> None:
    with h5py.File(store_path, "r+") as file:
        file.attrs["input"] = stated
    with pytest.raises(DataError, match=message):
        ImageStore(store_path)


def test_features_come_back_bit_for_bit(tmp_path: Path) -> None:
    spec = InputSpec("features", "float32", (1, 1, 300), is_bounded=False)
    rows = np.random.default_rng(0).standard_normal((1000, 1, 1, 300)).astype(np.float32)  # 873 a chunk
    with write_store(tmp_path / "a.h5", spec, source="toy", split_rule="any") as writer:
        writer.append(rows, make_ids(1000), np.full(1000, "train"))
    with ImageStore(tmp_path / "a.h5") as store:
        assert store.spec == spec
        assert (store.read(870, 880) == rows[870:880]).all()
        some = np.array([0, 872, 873, 999])
        assert (store.take(some) == rows[some]).all()
