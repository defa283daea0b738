"""scikit-learn's own checks of an estimator."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from pipeline import MultiFacetClustering

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
