"""Where rays meet the four objects of a scene: convex pieces as intersections of intervals along the ray."""

import numpy as np
from jaxtyping import Float32

Vectors = Float32[np.ndarray, "3 ray"]
Points = Float32[np.ndarray, "3 #ray"]  # one a ray, or one for all rays
Scalars = Float32[np.ndarray, " ray"]

SHAPES = ("cube", "cylinder", "sphere", "capsule")
"""Objects in the order of their factor index."""

_TINY = np.float32(1e-12)


def meet_solid(shape: str, size: float, origin: Points, direction: Vectors) -> tuple[Scalars, Vectors]:
    """Return how far each ray runs before it enters an object that stands on the floor at the room's centre.

    Args:
        shape: one of :data:`SHAPES`.
        size: size factor m of the object; 1 is the smallest of the dataset.
        origin: where rays start: one point for all, or one a ray.
        direction: of the rays, of any length; distances count in this length.

    Returns:
        Distance (infinite where the ray misses or starts behind the object) and outward unit normal.
    """
    if shape == "cube":
        half = 0.0771 * size
        return _first_piece([_box(origin, direction, half)])
    if shape == "cylinder":
        radius = 0.0826 * size
        return _first_piece([_upright_cylinder(origin, direction, radius, 0.0, 2 * radius)])
    if shape == "sphere":
        radius = 0.0935 * size
        return _first_piece([_ball(origin, direction, radius, radius)])
    if shape == "capsule":
        radius = 0.0716 * size
        pieces = [_ball(origin, direction, radius, height * radius) for height in (1, 3)]
        return _first_piece([*pieces, _upright_cylinder(origin, direction, radius, radius, 3 * radius)])
    raise ValueError(f"shape must be one of {', '.join(SHAPES)}, got {shape!r}")


def _first_piece(pieces: list[tuple[Scalars, Vectors]]) -> tuple[Scalars, Vectors]:
    distance, normal = pieces[0]
    for other_distance, other_normal in pieces[1:]:
        nearer = other_distance < distance
        distance = np.where(nearer, other_distance, distance)
        normal = np.where(nearer, other_normal, normal)
    return distance, normal


def _box(origin: Points, direction: Vectors, half: float) -> tuple[Scalars, Vectors]:
    lows, highs = (-half, 0.0, -half), (half, 2 * half, half)
    enters, leaves = zip(*(_slab(origin[i], direction[i], lows[i], highs[i]) for i in range(3)), strict=True)
    enter = np.stack(np.broadcast_arrays(*enters))
    face = enter.argmax(axis=0)
    normal = np.where(np.arange(3)[:, None] == face, -np.sign(direction), 0).astype(np.float32)
    return _entry(enter.max(axis=0), np.minimum.reduce(leaves)), normal


def _upright_cylinder(
    origin: Points, direction: Vectors, radius: float, bottom: float, top: float
) -> tuple[Scalars, Vectors]:
    side_in, side_out = _round(origin[[0, 2]], direction[[0, 2]], radius)
    slab_in, slab_out = _slab(origin[1], direction[1], bottom, top)
    distance = _entry(np.maximum(side_in, slab_in), np.minimum(side_out, slab_out))
    through_side = side_in >= slab_in
    point = origin[[0, 2]] + np.where(np.isfinite(distance), distance, 0) * direction[[0, 2]]
    x, z = np.where(through_side, point / np.float32(radius), 0)
    return distance, np.stack([x, np.where(through_side, 0, -np.sign(direction[1])), z]).astype(np.float32)


def _ball(origin: Points, direction: Vectors, radius: float, height: float) -> tuple[Scalars, Vectors]:
    centred = origin - np.array([[0], [height], [0]], np.float32)
    distance = _entry(*_round(centred, direction, radius))
    point = centred + np.where(np.isfinite(distance), distance, 0) * direction
    return distance, point / np.float32(radius)


def _slab(origin: np.ndarray, direction: Scalars, low: float, high: float) -> tuple[Scalars, Scalars]:
    steep = np.where(np.abs(direction) < _TINY, _TINY, direction)
    first, second = (np.float32(low) - origin) / steep, (np.float32(high) - origin) / steep
    return np.minimum(first, second), np.maximum(first, second)


def _round(origin: np.ndarray, direction: np.ndarray, radius: float) -> tuple[Scalars, Scalars]:
    """Interval inside |origin + t direction| < radius, in two or three dimensions; empty (inf, -inf) where missed."""
    a = np.maximum((direction * direction).sum(axis=0), _TINY)
    b = (origin * direction).sum(axis=0)
    c = (origin * origin).sum(axis=0) - np.float32(radius * radius)
    root = np.sqrt(np.maximum(b * b - a * c, 0))
    missed = b * b < a * c
    return np.where(missed, np.inf, (-b - root) / a), np.where(missed, -np.inf, (-b + root) / a)


def _entry(enter: Scalars, leave: Scalars) -> Scalars:
    return np.where((enter < leave) & (enter > 0), enter, np.inf).astype(np.float32)
