"""Where a search for facets begins: directions of rows that may have something of one property alone.

Main directions have it where properties differ in size, independent components (Hyvärinen, 1999) where they are alike.
"""

import warnings
from collections.abc import Iterator
from typing import cast

import numpy as np
from jaxtyping import Float32

_LEAST_SEEN = 1e-5  # of a direction, over that of the first: beneath is rounding

_Rows = Float32[np.ndarray, "row direction"]


def starts(rows: _Rows) -> Iterator[np.ndarray]:
    """Yield some directions of rows, alone or together, that may belong to one facet.

    Args:
        rows: in main directions, most variance first.
    """
    for n in (2, 3, 5):
        yield rows[:, :n]
    yield from _independent(rows[:, :6]).T[:, :, None]
    yield from (rows[:, [i]] for i in range(min(3, rows.shape[1])))


def _independent(rows: _Rows) -> Float32[np.ndarray, "row component"]:
    from sklearn.decomposition import FastICA

    deviation = rows.std(axis=0)
    rows = rows[:, deviation > _LEAST_SEEN * deviation.max()]
    if not rows.shape[1]:
        return rows
    # A start need not be exact, and is to be the same at each call.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator = FastICA(whiten="unit-variance", random_state=0, max_iter=60, tol=1e-2)
        return cast(np.ndarray, estimator.fit_transform(rows))
