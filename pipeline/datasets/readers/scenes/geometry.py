"""What every sample of a picture shows: surface and brightness, for one scale, shape and orientation.

The constants describe the 3DShapes scenes as measured from real frames; the unit is half the room's width. Pixels: x to
the right, y down. Space: y up, the room's vertical axis is x = z = 0.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from pipeline.datasets.readers.scenes.solids import SHAPES, Points, Scalars, Vectors, meet_solid

SIZE = 64
"""Rows and columns of a picture."""

SAMPLES = 4
"""Samples a pixel along each axis."""

SKY, FLOOR, WALL, OBJECT = range(4)

_FOCAL = 68.7  # pixels
_CENTRE = (32.0, 32.05)
_CAMERA_HEIGHT, _CAMERA_RADIUS = 0.2197, 0.737
_WALL_HEIGHT = 0.583
_LIGHT = np.array([[-0.40], [2.07], [-0.14]], np.float32)
_AMBIENT, _HEADLIGHT, _LAMP = 0.352, 0.589, 0.963


@dataclass(frozen=True)
class Samples:
    """What the rays of one picture meet.

    Attributes:
        surface: ``SKY``, ``FLOOR``, ``WALL`` or ``OBJECT``.
        gain: factor on the surface's colour; 0 for the sky.
        highlight: where the object gets the lamp's white gloss.
    """

    surface: UInt8[np.ndarray, " ray"]
    gain: Float32[np.ndarray, " ray"]
    highlight: Bool[np.ndarray, " ray"]


@dataclass(frozen=True)
class _Room:
    origin: Points
    direction: Vectors
    headlight: Points
    distance: Scalars
    point: Vectors
    surface: UInt8[np.ndarray, " ray"]
    plain_gain: Scalars  # ambient and headlight
    lamp_gain: Scalars  # to be added where no shadow falls


def cast_scene(scale: int, shape: int, orientation: int) -> Samples:
    """Cast all rays of a picture.

    Args:
        scale: factor index, 0 to 7.
        shape: factor index into :data:`SHAPES`.
        orientation: factor index, 0 to 14, for -30 to 30 degrees.
    """
    room = _cast_room(orientation)
    size = 1 + (2 / 3) * scale / 7
    distance, normal = meet_solid(SHAPES[shape], size, room.origin, room.direction)
    on_object = distance < room.distance
    point = room.origin + np.where(on_object, distance, 0) * room.direction
    plain, lamp, faces_light = _shade(point, normal, room.headlight)

    lit = np.ones(room.surface.shape, bool)
    floor = np.flatnonzero(room.surface == FLOOR)
    ground = room.point[:, floor]
    lit[floor] = np.isinf(meet_solid(SHAPES[shape], size, ground, _LIGHT - ground)[0])
    gain = np.where(on_object, plain + lamp, room.plain_gain + lit * room.lamp_gain)
    surface = np.where(on_object, np.uint8(OBJECT), room.surface)
    return Samples(surface, gain.astype(np.float32), on_object & faces_light)


@lru_cache(maxsize=15)
def _cast_room(orientation: int) -> _Room:
    angle = np.radians(-30 + 60 * orientation / 14)
    sine, cosine = np.sin(angle), np.cos(angle)
    headlight = np.array([[sine], [0], [cosine]], np.float32)
    origin = np.array([[_CAMERA_RADIUS * sine], [_CAMERA_HEIGHT], [_CAMERA_RADIUS * cosine]], np.float32)
    grid = (np.arange(SIZE * SAMPLES) + 0.5) / SAMPLES
    down, right = np.meshgrid((grid - _CENTRE[1]) / _FOCAL, (grid - _CENTRE[0]) / _FOCAL, indexing="ij")
    right, down = right.ravel(), down.ravel()
    direction = np.stack([right * cosine - sine, -down, -right * sine - cosine]).astype(np.float32)

    to_wall = np.where(np.abs(direction) < 1e-9, np.inf, (np.sign(direction) - origin) / direction)
    to_wall = to_wall[[0, 2]]
    to_floor = np.where(direction[1] < 0, -origin[1] / np.minimum(direction[1], -1e-9), np.inf)
    nearest_wall = to_wall.min(axis=0)
    distance = np.minimum(nearest_wall, to_floor).astype(np.float32)
    point = origin + distance * direction
    on_floor = to_floor < nearest_wall
    is_sky = ~on_floor & (point[1] > _WALL_HEIGHT)
    surface = np.select([on_floor, is_sky], [FLOOR, SKY], WALL).astype(np.uint8)

    side = to_wall[0] < to_wall[1]  # the wall X = ±1, else Z = ±1
    on_wall = surface == WALL
    normal = np.stack([-np.sign(direction[0]) * (on_wall & side), on_floor, -np.sign(direction[2]) * (on_wall & ~side)])
    plain, lamp, _ = _shade(point, normal.astype(np.float32), headlight)
    return _Room(origin, direction, headlight, distance, point, surface, plain * ~is_sky, lamp * ~is_sky)


def _shade(point: Vectors, normal: Vectors, headlight: Points) -> tuple[Scalars, Scalars, Bool[np.ndarray, " ray"]]:
    """Return the gain of ambient and head light, that of the lamp, and where the surface faces the lamp."""
    to_light = _LIGHT - point
    to_light /= np.sqrt((to_light * to_light).sum(axis=0))
    facing = (normal * to_light).sum(axis=0)
    plain = _AMBIENT + _HEADLIGHT * np.maximum(0, (normal * headlight).sum(axis=0))
    lamp = _LAMP * np.maximum(0, facing) * to_light[1] ** 10
    return plain.astype(np.float32), lamp.astype(np.float32), facing > 0
