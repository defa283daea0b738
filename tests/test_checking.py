"""Shapes are checked while tests run: of arguments and of results, at the first call and at later ones."""

import numpy as np
import pytest
from jaxtyping import Float64, Int64, TypeCheckError, jaxtyped

from pipeline.monitoring.drift import occupancy_p_value
from tests import checking


def test_a_call_of_the_library_with_another_shape_fails_every_time() -> None:
    for _ in range(2):
        with pytest.raises(TypeCheckError, match="Called with parameters"):
            occupancy_p_value(np.ones(3, np.int64))
    assert occupancy_p_value(np.full((2, 3), 9)) == 1.0


@jaxtyped(typechecker=checking.typechecked)
def halves(counts: Int64[np.ndarray, " row"], n: int) -> Float64[np.ndarray, " row"]:
    return np.full(n, 0.5) * counts.sum()


def test_a_result_of_another_shape_fails() -> None:
    assert halves(np.ones(2, np.int64), 2).tolist() == [1.0, 1.0]
    with pytest.raises(TypeCheckError, match="whilst checking the return value"):
        halves(np.ones(2, np.int64), 3)
    with pytest.raises(TypeCheckError, match="whilst checking the parameters"):
        halves(np.ones(2), 2)


def test_a_function_is_checked_for_its_first_calls_in_every_test() -> None:
    wrong, right = np.ones(3, np.int64), np.full((2, 3), 9)
    for _ in range(2):
        for _ in range(checking.CALLS - 1):
            assert occupancy_p_value(right) == 1.0
        with pytest.raises(TypeCheckError):
            occupancy_p_value(wrong)
        for _ in range(2):
            occupancy_p_value(right)
        with pytest.raises(Exception, match="axis 1 is out of bounds"):  # numpy's own
            occupancy_p_value(wrong)
        checking.begin()
