"""A fitted estimator survives as a file, in other processes and releases."""

import json
import re
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from pipeline import MultiFacetClustering
from pipeline.core.errors import ModelError, ResourceError
from tests.estimator.test_clustering import N, bright_halves, make

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return bright_halves()[0]


@pytest.fixture(scope="module")
def model(images: np.ndarray) -> MultiFacetClustering:
    asked = make(ignores=(None, {"rotate": 10}), epochs=1, n_seeds=2)
    return asked.set_params(n_components=np.array([4, 3])).fit(images)


@pytest.fixture
def file(model: MultiFacetClustering, tmp_path: Path) -> Path:
    path = tmp_path / "halves.safetensors"
    model.save(path)
    return path


def test_what_is_loaded_is_what_was_saved(model: MultiFacetClustering, images: np.ndarray, file: Path) -> None:
    again = MultiFacetClustering.load(file)
    for name in ("labels_", "elbo_", "history_", "outcomes_", "n_features_in_"):
        np.testing.assert_equal(getattr(again, name), getattr(model, name))
    for name in ("predict", "transform", "score"):
        np.testing.assert_array_equal(getattr(again, name)(images), getattr(model, name)(images))
    np.testing.assert_array_equal(again.sample(0, 1, 2), model.sample(0, 1, 2))
    assert str(again.get_params()) == str({**model.get_params(), "n_components": (4, 3)})
    np.testing.assert_array_equal(clone(again).fit(images).transform(images), model.transform(images))


def test_columns_of_a_frame_keep_their_names(tmp_path: Path) -> None:
    rows = pd.DataFrame(np.random.default_rng(0).normal(5.0, 3.0, (N, 3)), columns=["age", "mass", "height"])
    model = make(epochs=1, n_seeds=1).fit(rows)
    model.save(tmp_path / "rows.safetensors")
    again = MultiFacetClustering.load(tmp_path / "rows.safetensors")
    np.testing.assert_array_equal(again.transform(rows), model.transform(rows))
    with pytest.raises(ValueError, match="feature names should match"):
        again.predict(rows.rename(columns={"age": "mass", "mass": "age"}))


def test_joblib_keeps_it(model: MultiFacetClustering, images: np.ndarray, tmp_path: Path) -> None:
    joblib.dump(model, tmp_path / "model.joblib")
    np.testing.assert_array_equal(joblib.load(tmp_path / "model.joblib").predict(images), model.predict(images))


def test_only_what_is_fitted_and_has_a_number_for_its_state_is_saved(images: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        make().save(tmp_path / "x.safetensors")
    drawn = make(epochs=1, n_seeds=1, random_state=np.random.RandomState(0)).fit(images)
    with pytest.raises(
        ValueError, match=r"random_state must be None or a number to be saved, got RandomState\(MT19937\)"
    ):
        drawn.save(tmp_path / "x.safetensors")
    drawn.set_params(random_state=None).save(tmp_path / "x.safetensors")


def record_of(file: Path) -> tuple[dict, dict[str, torch.Tensor]]:
    with safe_open(file, "pt") as opened:
        return json.loads(opened.metadata()["estimator"]), {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118


def test_what_is_no_saved_estimator_is_refused(file: Path, tmp_path: Path) -> None:
    record, tensors = record_of(file)
    cases = {"missing": None, "cut": file.read_bytes()[:-9], "text": b"a note"}
    for name, data in cases.items():
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(ModelError, match=rf"{re.escape(str(tmp_path / name))} must be a file that .* wrote, but"):
            MultiFacetClustering.load(tmp_path / name)
    save_file(tensors, tmp_path / "bare")
    with pytest.raises(ModelError, match="holds no record of an estimator; save the model again"):
        MultiFacetClustering.load(tmp_path / "bare")
    del tensors["weights.priors.0.means"]
    save_file(tensors, tmp_path / "less", {"estimator": json.dumps(record)})
    with pytest.raises(ModelError, match=r"priors\.0\.means"):
        MultiFacetClustering.load(tmp_path / "less")
    save_file(tensors, tmp_path / "newer", {"estimator": json.dumps({**record, "schema": 9})})
    with pytest.raises(ResourceError, match="which a newer release wrote"):
        MultiFacetClustering.load(tmp_path / "newer")
