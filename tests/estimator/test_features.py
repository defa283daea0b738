import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import adjusted_rand_score

from pipeline import MultiFacetClustering


def rows_of_two_properties(n_rows=300, n_numbers=16, seed=0):
    generator = np.random.default_rng(seed)
    manner, kind = generator.integers(2, size=n_rows), generator.integers(3, size=n_rows)
    rows = 0.15 * generator.standard_normal((n_rows, n_numbers))
    rows[:, 0] += 10.0 * manner
    rows[:, 1:3] += 2 * np.array([[1.0, 0.0], [-0.5, 0.87], [-0.5, -0.87]])[kind]
    return (20.0 + rows).astype(np.float32), manner, kind


def estimator(**parameters):
    settings = {"hidden": ((16,), (16,)), "epochs": 30, "n_seeds": 1, "validation_fraction": 0.0, "random_state": 0}
    features = {"family": "residual", "likelihood": "standardised", "sigma": 1.0, "component_std": 0.7}
    return MultiFacetClustering((3, 2), (3, 2), **{**settings, **features, **parameters})


@pytest.fixture(scope="module")
def fitted():
    rows, *truths = rows_of_two_properties()
    return estimator().fit(rows), rows, truths


def test_facets_of_features_follow_the_two_properties(fitted):
    model, _, (manner, kind) = fitted
    assert adjusted_rand_score(manner, model.labels_[:, 1]) > 0.95
    assert adjusted_rand_score(kind, model.labels_[:, 0]) > 0.7


def test_rows_are_taken_as_they_are(fitted):
    """Far outside [0, 1]; and of new rows outside the range of the training rows nothing is clipped."""
    model, rows, _ = fitted
    assert (model.model_.spec.kind, model.model_.spec.is_bounded) == ("features", False)
    np.testing.assert_array_equal(model.predict(rows), model.labels_)
    far, farther = rows[:1].copy(), rows[:1].copy()
    far[:, 0], farther[:, 0] = 50.0, 100.0
    assert not np.allclose(model.transform(far), model.transform(farther))


def test_samples_are_rows_in_the_units_of_the_training_rows(fitted):
    model, _, (manner, _) = fitted
    made_up = model.sample(facet=1, component=int(model.labels_[manner == 1, 1][0]), n_samples=20)
    assert made_up.shape == (20, 16)
    assert abs(np.median(made_up[:, 0]) - 30) < 2


def test_statistics_come_back_with_the_file(fitted, tmp_path):
    model, rows, _ = fitted
    model.save(tmp_path / "features.safetensors")
    np.testing.assert_array_equal(
        MultiFacetClustering.load(tmp_path / "features.safetensors").predict(rows), model.labels_
    )


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # two epochs tell little apart
def test_fit_predict_is_bit_for_bit_the_same_twice(fitted):
    _, rows, _ = fitted
    model, again = estimator(epochs=2).fit(rows), estimator(epochs=2)
    np.testing.assert_array_equal(again.fit_predict(rows), model.labels_)
    np.testing.assert_array_equal(again.transform(rows), model.transform(rows))


def test_sparse_rows_are_refused():
    with pytest.raises(TypeError, match="Sparse data was passed for X, but dense data is required"):
        estimator().fit(sparse.random(20, 6, density=0.5, format="csr", random_state=0))


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_rows_that_are_not_finite_are_refused(odd):
    rows = rows_of_two_properties(30)[0]
    rows[3, 2] = odd
    with pytest.raises(ValueError, match="Input X contains"):
        estimator().fit(rows)


def test_images_are_refused_by_a_ladder_over_rows():
    with pytest.raises(ValueError, match=r"family residual needs rows of features \(n, features\), got samples of sh"):
        estimator().fit(np.zeros((20, 4, 4)))
