import numpy as np
import pytest
import torch

from pipeline.core.errors import DataError, ModelError
from pipeline.datasets.store.writer import write_store
from pipeline.training import images as images_module
from pipeline.training.images import DiskImages, MemoryImages, divide_images, load_training_images, watch_test_images
from tests.model.builders import SPEC
from tests.training.builders import uint8_images

CPU = torch.device("cpu")


@pytest.fixture
def store(tmp_path):
    def write(n=40):
        path = tmp_path / "train.h5"
        with write_store(path, SPEC, source="test", split_rule="none") as writer:
            ids = np.array([f"i-{i:016x}" for i in range(n)])
            writer.append(uint8_images(n).numpy(), ids, np.full(n, "train"))
        return path

    return write


def test_a_regular_part_of_the_held_out_images_is_watched(monkeypatch):
    monkeypatch.setattr(images_module, "_MOST_WATCHED", 20)
    images = uint8_images(500)
    many = divide_images(MemoryImages(images, SPEC), 500, 0.1)
    assert (many.watched.split, many.watched.rows.tolist()) == ("train", many.validation_rows[::3].tolist())
    assert torch.equal(many.watched.images, images[many.watched.rows])
    few = divide_images(MemoryImages(images, SPEC), 200, 0.1)
    assert few.watched.rows.tolist() == few.validation_rows.tolist()


def test_images_of_the_test_split_are_watched_where_none_are_held_out(store, monkeypatch):
    monkeypatch.setattr(images_module, "_MOST_WATCHED", 20)
    path = store(50)
    everything = watch_test_images(load_training_images(path, 0.0, CPU), path)
    assert (everything.watched.split, everything.watched.rows.tolist()) == ("test", list(range(0, 50, 3)))
    assert torch.equal(everything.watched.images, uint8_images(50)[::3])
    held_out = watch_test_images(load_training_images(path, 0.2, CPU), path)
    assert held_out.watched.split == "train"


def test_the_split_is_fixed_disjoint_and_complete(store):
    path = store()
    one, two = load_training_images(path, 0.25, CPU), load_training_images(path, 0.25, CPU)
    np.testing.assert_array_equal(one.validation_rows, two.validation_rows)
    assert (len(one.train_rows), len(one.validation_rows)) == (30, 10)
    assert sorted([*one.train_rows, *one.validation_rows]) == list(range(40))
    assert list(one.validation_rows) != list(range(10))


def test_nothing_held_out(store):
    images = load_training_images(store(), 0.0, CPU)
    assert list(images.train_rows) == list(range(40))
    assert len(images.validation_rows) == 0
    assert images.some(images.validation_rows).shape == (0, 1, 3, 4)


def test_at_most_so_many_are_held_out(store, monkeypatch):
    monkeypatch.setattr(images_module, "_MOST_VALIDATION", 3)
    assert len(load_training_images(store(), 0.25, CPU).validation_rows) == 3


@pytest.mark.parametrize("free", [0, 2**40])
def test_rows_in_any_order_with_repeats(store, free, monkeypatch):
    path = store()
    monkeypatch.setattr(images_module, "_free_bytes", lambda _: free)
    monkeypatch.setattr(images_module, "_BLOCK", 7)
    images = load_training_images(path, 0.25, CPU)
    assert isinstance(images.source, MemoryImages if free else DiskImages)
    assert images.source.spec == SPEC
    rows = torch.tensor([31, 2, 2, 39, 0])
    assert torch.equal(images.source.gather(rows), uint8_images(40)[rows])
    assert torch.equal(images.some(np.array([5, 1])), uint8_images(40)[[5, 1]])


def test_too_few_images(store):
    with pytest.raises(ModelError, match=r"training needs at least 2 images, got 1 in .*train\.h5; add images"):
        load_training_images(store(1), 0.0, CPU)


def test_a_missing_split(tmp_path):
    with pytest.raises(DataError, match=r"train\.h5"):
        load_training_images(tmp_path / "train.h5", 0.1, CPU)
