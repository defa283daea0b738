"""What a collection must have before anything is proposed for it: enough images or rows, and enough that differ."""

import numpy as np
from jaxtyping import Shaped

from pipeline.core.errors import DataError
from pipeline.core.text import counted

_FEWEST, _FEWEST_DISTINCT = 20, 10


def require_enough(n_usable: int, noun: str, location: str) -> None:
    """Check that a collection is large enough to be clustered.

    Args:
        n_usable: images or rows of the whole source that can be used.
        noun: what one of them is called.
        location: where they lie, as it was given.

    Raises:
        DataError: it is not.
    """
    if n_usable < _FEWEST:
        raise DataError(f"{location} must hold at least {_FEWEST} usable {noun}s, got {n_usable}; add some")


def require_variety(some: Shaped[np.ndarray, "item *number"], noun: str, location: str) -> None:
    """Check that a collection has something to tell apart, as training and the splits would find out later.

    Args:
        some: images as the model sees them, or rows.
        noun: what one of them is called.
        location: where they lie, as it was given.

    Raises:
        DataError: nearly all are the same.
    """
    n_distinct = len(np.unique(some.reshape(len(some), -1), axis=0))
    if n_distinct < _FEWEST_DISTINCT:
        raise DataError(
            f"{location} must hold at least {_FEWEST_DISTINCT} {noun}s that differ, got "
            f"{counted(n_distinct, 'different one')} among the {len(some)} looked at, as the model sees them; "
            f"correct the path, or add other {noun}s"
        )
