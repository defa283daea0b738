import base64

import numpy as np
import pytest

from pipeline.report.packing import pack, pack_coordinates, pack_fraction, unpack


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float32"])
def test_an_array_comes_back(dtype: str) -> None:
    array = np.array([[0, 1, 2], [3, 4, 100]], dtype)
    back = unpack(pack(array))
    assert back.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(back, array)


def test_bytes_are_little_endian_and_in_row_order() -> None:
    packed = pack(np.array([[1, 2], [3, 4]], ">i2").T)
    assert base64.b64decode(packed["base64"]) == bytes([1, 0, 3, 0, 2, 0, 4, 0])
    assert packed["shape"] == [2, 2]


def test_types_that_the_page_cannot_read_are_refused() -> None:
    with pytest.raises(ValueError, match="float64"):
        pack(np.zeros(3))


def test_fractions_keep_four_digits_and_their_ends() -> None:
    values = np.array([0.0, 1e-5, 0.25, 0.99999, 1.0, 1.0000001])
    back = unpack(pack_fraction(values))
    np.testing.assert_allclose(back, values.clip(0, 1), atol=0.5 / 65535 + 1e-12)
    assert back[0] == 0
    assert back[4] == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e5])
def test_coordinates_are_exact_to_a_step_of_the_largest(scale: float) -> None:
    values = np.random.default_rng(0).normal(0, scale, (50, 3))
    np.testing.assert_allclose(unpack(pack_coordinates(values)), values, atol=np.abs(values).max() / 32767)


def test_coordinates_of_nothing_and_of_zeros() -> None:
    assert unpack(pack_coordinates(np.empty((0, 4)))).shape == (0, 4)
    np.testing.assert_array_equal(unpack(pack_coordinates(np.zeros((2, 2)))), np.zeros((2, 2)))
