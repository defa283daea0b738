import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.core.errors import DataError
from pipeline.datasets.readers.mat import list_arrays

KINDS = [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.int64, np.uint64, np.float32, np.float64]


def read_all(path: Path, name: str, n_at_once: int) -> np.ndarray:
    found = list_arrays(path)[name]
    parts = list(found.values(n_at_once))
    return np.concatenate([np.empty(0, found.dtype), *parts]).reshape(found.shape, order="F")


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data(), st.booleans(), st.integers(1, 9))
def test_arrays_are_read_as_scipy_reads_them(
    tmp_path: Path, data: st.DataObject, do_compression: bool, n_at_once: int
) -> None:
    kind = data.draw(st.sampled_from(KINDS))
    shapes = arrays.array_shapes(min_dims=2, max_dims=4, min_side=0, max_side=4)
    first = data.draw(arrays.arrays(kind, shapes))
    names = st.text("abcXYZ", min_size=1, max_size=20)
    content = {data.draw(names) + "_1": first, "other": np.arange(6).reshape(2, 3), "text": "no numbers"}
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, content, do_compression=do_compression)
    expected = scipy.io.loadmat(path)
    found = list_arrays(path)
    assert list(found) == list(content)
    assert found["text"].dtype is None
    for name in list(content)[:2]:
        values = read_all(path, name, n_at_once)
        assert values.dtype == expected[name].dtype
        np.testing.assert_array_equal(values, expected[name])


def test_text_has_no_values(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"text": "abc"})
    with pytest.raises(ValueError, match="text holds no numbers"):
        next(list_arrays(tmp_path / "a.mat")["text"].values(1))


def test_numbers_may_be_stored_narrower_and_in_big_endian_order(tmp_path: Path) -> None:
    # A double array [3, 4] whose values MATLAB stored as bytes, inside their tag; all in big-endian order.
    header = b"MATLAB 5.0".ljust(124) + b"\x01\x00MI"
    matrix = struct.pack(">IIII", 6, 8, 6, 0)  # array flags: class double
    matrix += struct.pack(">IIii", 5, 8, 1, 2)  # one row, two columns
    matrix += struct.pack(">I", 1 << 16 | 1) + b"y\0\0\0"  # name
    matrix += struct.pack(">I", 2 << 16 | 2) + b"\x03\x04\0\0"  # values
    (tmp_path / "a.mat").write_bytes(header + struct.pack(">II", 14, len(matrix)) + matrix)
    found = list_arrays(tmp_path / "a.mat")["y"]
    assert (found.dtype, found.shape) == (np.dtype("f8"), (1, 2))
    assert read_all(tmp_path / "a.mat", "y", 10).tolist() == [[3.0, 4.0]]


def test_a_variable_that_unpacks_to_more_than_its_shape_is_refused_unread(tmp_path: Path) -> None:
    """scipy unpacks all of it before it compares it with the shape."""
    header = struct.pack("<IIII", 6, 8, 9, 0)  # array flags: class uint8
    header += struct.pack("<IIii", 5, 8, 1, 1) + struct.pack("<I", 1 << 16 | 1) + b"X\0\0\0"
    values = struct.pack("<II", 2, 2**26)
    packed = zlib.compress(struct.pack("<II", 14, len(header) + 8 + 2**26) + header + values + bytes(2**26), 1)
    (tmp_path / "a.mat").write_bytes(
        b"MATLAB 5.0".ljust(124) + b"\0\1IM" + struct.pack("<II", 15, len(packed)) + packed
    )
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"a\.mat must be .* but X is \(1, 1\) but 67108864 bytes of kind 2"):
            list_arrays(tmp_path / "a.mat")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
