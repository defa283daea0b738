"""Arrays inside JSON: little-endian bytes as base64, a fraction of the size and parsing time of lists of numbers."""

import base64
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

_LEGAL = ("uint8", "uint16", "int16", "int32", "float32")


def pack(array: Shaped[np.ndarray, "..."]) -> dict[str, Any]:
    """Return an array as a JSON value.

    Raises:
        ValueError: a type that the page does not read.
    """
    if array.dtype.name not in _LEGAL:
        raise ValueError(f"the type must be one of {', '.join(_LEGAL)}, got {array.dtype}")
    raw = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"))).tobytes()
    return {"dtype": array.dtype.name, "shape": list(array.shape), "base64": base64.b64encode(raw).decode()}


def pack_fraction(array: Float[np.ndarray, "..."]) -> dict[str, Any]:
    """Return numbers of [0, 1] in steps of 1/65535; readers multiply by ``scale``."""
    steps = np.rint(np.clip(array, 0.0, 1.0) * 65535).astype(np.uint16)
    return pack(steps) | {"scale": 1 / 65535}


def pack_coordinates(array: Float[np.ndarray, "..."]) -> dict[str, Any]:
    """Return finite numbers in 32,767 steps to their largest magnitude; readers multiply by ``scale``."""
    largest = float(np.abs(array).max(initial=0.0)) or 1.0
    return pack(np.rint(array * (32767 / largest)).astype(np.int16)) | {"scale": largest / 32767}


def unpack(packed: dict[str, Any]) -> Shaped[np.ndarray, "..."]:
    """Return the array of :func:`pack` and its siblings."""
    raw = np.frombuffer(base64.b64decode(packed["base64"]), np.dtype(packed["dtype"]).newbyteorder("<"))
    array = raw.reshape(packed["shape"])
    return array * packed["scale"] if "scale" in packed else array
