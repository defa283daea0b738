"""What fits side by side share: the process's filters of warnings."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from pipeline.mixture import fit as mixture_fit
from pipeline.mixture.fit import FitSettings, fit_mixture

SETTINGS = FitSettings("diagonal", 1e-3, 3, 20, 1)


def test_filters_change_with_the_first_of_overlapping_fits_and_return_with_the_last():
    before = list(warnings.filters)
    with mixture_fit._QUIET():
        with mixture_fit._QUIET():
            warnings.warn("few distinct points", ConvergenceWarning, stacklevel=1)
        warnings.warn("few distinct points", ConvergenceWarning, stacklevel=1)
    assert list(warnings.filters) == before
    with pytest.warns(ConvergenceWarning):
        warnings.warn("few distinct points", ConvergenceWarning, stacklevel=1)


def test_fits_in_threads_are_those_alone_and_warn_of_nothing():
    """Of two distinct points for three components, which k-means warns of."""
    points = np.repeat(np.array([[0.0, 1.0], [3.0, -1.0]]), 20, axis=0)
    together, before = Barrier(4), list(warnings.filters)

    def fit(seed):
        together.wait()
        return fit_mixture(points, 3, SETTINGS, seed, 0)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(fit, range(4)))
    assert list(warnings.filters) == before
    for seed, one in enumerate(found):
        alone = fit_mixture(points, 3, SETTINGS, seed, 0)
        np.testing.assert_array_equal(one.means, alone.means)
