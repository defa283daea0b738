import numpy as np
import pytest

from pipeline.core.errors import DataError
from pipeline.evaluation.epochs import Courses, accuracy_by_epoch
from pipeline.evaluation.labels import Factor


def factor(train):
    return Factor(np.array(train), np.array([0]), np.array([0, 1]))


def test_accuracies_by_hand(tmp_path):
    # Rows 1, 3, 5 and 7 are watched; the last has no label.
    rows = np.array([1, 3, 5, 7])
    first = np.array([[[0, 0, 0, 0], [2, 1, 1, 0]], [[0, 1, 1, 0], [0, 0, 0, 0]]], np.int16)
    np.savez_compressed(tmp_path / "epochs.npz", split=np.array("train"), rows=rows, seed_4=first, seed_9=first[:1])
    found = accuracy_by_epoch(tmp_path, {"shape": factor([1, 0, 1, 1, 0, 1, 0, -1]), "none": factor([0] + [-1] * 7)})
    expected = {
        "facet_0": {"4": [pytest.approx(2 / 3, abs=1e-5), 1.0], "9": [pytest.approx(2 / 3, abs=1e-5)]},
        "facet_1": {"4": [1.0, pytest.approx(2 / 3, abs=1e-5)], "9": [1.0]},
    }
    assert (found.of, found.accuracies) == ("validation", {"shape": expected})


def test_images_of_the_test_split_have_its_labels_and_a_waiting_facet_no_accuracy(tmp_path):
    clusters = np.array([[[-1, -1], [0, 1]], [[0, 0], [0, 0]]], np.int16)
    np.savez_compressed(tmp_path / "epochs.npz", split=np.array("test"), rows=np.array([0, 2]), seed_4=clusters)
    shapes = Factor(np.array([0, 0, 0]), np.array([1, -1, 0]), np.array([0, 1]))
    expected = {"facet_0": {"4": [None, 0.5]}, "facet_1": {"4": [1.0, 0.5]}}
    assert accuracy_by_epoch(tmp_path, {"shape": shapes}) == Courses("test", {"shape": expected})


def test_nothing_was_held_out(tmp_path):
    nothing = {"rows": np.arange(0), "seed_0": np.empty((3, 2, 0), np.int16)}
    np.savez_compressed(tmp_path / "epochs.npz", split=np.array("train"), **nothing)
    assert accuracy_by_epoch(tmp_path, {"shape": factor([0, 1])}).accuracies == {}


def test_a_missing_file_says_what_to_run(tmp_path):
    with pytest.raises(DataError, match="run stage train"):
        accuracy_by_epoch(tmp_path, {})
