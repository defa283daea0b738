"""Which features tell rows apart."""

import numpy as np
from jaxtyping import Bool, Float32

from pipeline.core.errors import DataError
from pipeline.core.text import counted

_SHOWN = 8


class FeatureRanges:
    """Smallest and largest value of every feature, block by block."""

    def __init__(self) -> None:
        self._n_rows = 0
        self._low: np.ndarray | None = None
        self._high: np.ndarray | None = None

    def add(self, rows: Float32[np.ndarray, "row 1 1 feature"]) -> None:
        """Take rows into account."""
        flat = rows.reshape(len(rows), -1)
        low, high = flat.min(axis=0), flat.max(axis=0)
        self._low = low if self._low is None else np.minimum(self._low, low)
        self._high = high if self._high is None else np.maximum(self._high, high)
        self._n_rows += len(rows)

    @property
    def constant(self) -> Bool[np.ndarray, " feature"]:
        """Whether a feature is the same in all rows."""
        return np.empty(0, bool) if self._low is None else self._low == self._high

    def require_tall(self) -> None:
        """Do as :func:`require_tall` with all rows."""
        require_tall(self._n_rows, len(self.constant))

    def require_different(self) -> str:
        """Say which features are constant, where some are; nothing where none is.

        Raises:
            DataError: all are.
        """
        constant = np.flatnonzero(self.constant)
        if not len(constant):
            return ""
        n_features = len(self.constant)
        if len(constant) == n_features:
            raise DataError(
                f"rows must differ, got the same {counted(n_features, 'number')} in all {self._n_rows} of them; "
                "correct the path"
            )
        shown = ", ".join(map(str, constant[:_SHOWN])) + (", …" if len(constant) > _SHOWN else "")
        return f"{len(constant)} of {n_features} features are the same in all rows and tell nothing (from 0: {shown})"


def require_tall(n_rows: int, n_features: int) -> None:
    """Check that there are at least as many rows as features, as else any clusters fit.

    Raises:
        DataError: there are not.
    """
    if n_rows < n_features:
        raise DataError(
            f"rows must be at least as many as their features, got {n_rows} rows of {n_features}; add rows, or reduce "
            "the features (and if the array lies on its side, transpose it)"
        )
