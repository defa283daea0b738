"""scikit-learn's own checks of an estimator, and what people build of estimators."""

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from pipeline import MultiFacetClustering
from tests.estimator.test_clustering import N, bright_halves, make

# As many components in either facet: some checks turn the list of responsibilities into one array.
QUICK = MultiFacetClustering((3, 3), (2, 2), hidden=((8,), (8,)), epochs=1, n_seeds=1, refit=False)

NOT_APPLICABLE = {
    "check_methods_sample_order_invariance": (
        "permutes what predict_proba returns, which is a list with one array a facet; "
        "test_clustering.py permutes the rows of each"
    ),
    "check_array_api_input": "runs only where SCIPY_ARRAY_API is set; arrays of other libraries are not promised",
}


@pytest.mark.no_cover  # a fit for each of fifty checks; what it runs is covered by test_clustering.py
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # twenty rows of noise have no clusters
@parametrize_with_checks([QUICK], expected_failed_checks=lambda _: NOT_APPLICABLE)
def test_scikit_learn_agrees(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_step_of_a_pipeline() -> None:
    rows = np.random.default_rng(0).normal((0.0, 500.0, 2.0), (1.0, 90.0, 0.1), (N, 3))
    steps = Pipeline([("scale", StandardScaler()), ("facets", make(epochs=1, n_seeds=1))])
    labels = steps.fit_predict(rows)
    np.testing.assert_array_equal(steps.predict(rows), labels)
    assert steps.transform(rows).shape == (N, 5)
    assert steps[-1].get_feature_names_out(steps[0].get_feature_names_out())[0] == "facet0_latent0"
    hinted = np.where(np.arange(N) < 8, np.arange(N) % 2, -1)
    assert not np.array_equal(
        steps.fit(rows, facets__hints={1: hinted}).transform(rows), steps.fit(rows).transform(rows)
    )


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_search_compares_scores_of_images_that_were_held_out() -> None:
    images, _ = bright_halves(40)
    one = make(epochs=1, n_seeds=1)
    search = GridSearchCV(one, {"n_components": [2, (4, 3)]}, cv=2).fit(images)
    first = clone(one).set_params(n_components=2).fit(images[20:]).score(images[:20])
    assert search.cv_results_["split0_test_score"][0] == pytest.approx(first)
    assert search.best_score_ == search.cv_results_["mean_test_score"].max()
    assert search.predict(images).shape == (40, 2)


@pytest.mark.parametrize("matrix", [scipy.sparse.csr_array, scipy.sparse.coo_matrix])
def test_sparse_rows_are_refused(matrix: type) -> None:
    with pytest.raises(TypeError, match="Sparse data was passed for X, but dense data is required"):
        make().fit(matrix(np.eye(20)))
