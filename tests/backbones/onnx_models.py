"""Small ONNX files, written field by field (github.com/onnx/onnx, onnx.proto), as the package onnx is not needed."""

from collections.abc import Sequence

Dim = int | str

FLOAT, DOUBLE = 1, 11


def pooled(shape: Sequence[Dim] = ("n", 3, 8, 8), out: Sequence[Dim] = ("n", 12), *, flat: bool = True) -> bytes:
    """Return a network whose features are the means of 4×4 pixels, channel by channel."""
    sides = b"".join(_integer(8, 4) for _ in range(2))
    attributes = [_text(1, name) + sides + _integer(20, 7) for name in ("kernel_shape", "strides")]
    pool = _node("AveragePool", "x", "pooled" if flat else "y", attributes)
    return _model([pool, _node("Flatten", "pooled", "y", [])][: 2 if flat else 1], FLOAT, shape, out)


def flattened_doubles() -> bytes:
    """Return a network whose features are the pixels, in double precision."""
    return _model([_node("Flatten", "x", "y", [])], DOUBLE, ("n", 3, 8, 8), ("n", 192))


def _model(nodes: Sequence[bytes], kind: int, shape: Sequence[Dim], out: Sequence[Dim]) -> bytes:
    graph = b"".join(_part(1, node) for node in nodes) + _text(2, "g")
    graph += _part(11, _value("x", kind, shape)) + _part(12, _value("y", kind, out))
    return _integer(1, 8) + _part(8, _text(1, "") + _integer(2, 13)) + _part(7, graph)


def _node(kind: str, taken: str, made: str, attributes: Sequence[bytes]) -> bytes:
    parts = b"".join(_part(5, attribute) for attribute in attributes)
    return _text(1, taken) + _text(2, made) + _text(4, kind) + parts


def _value(name: str, kind: int, shape: Sequence[Dim]) -> bytes:
    dims = b"".join(_part(1, _integer(1, dim) if isinstance(dim, int) else _text(2, dim)) for dim in shape)
    return _text(1, name) + _part(2, _part(1, _integer(1, kind) + _part(2, dims)))


def _text(field: int, text: str) -> bytes:
    return _part(field, text.encode())


def _part(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])
