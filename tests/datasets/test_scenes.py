"""Geometry facts of the scenes, and the renderer against independent formulas."""

import colorsys
import os
from typing import Any

import h5py
import numpy as np
import pytest

from pipeline.core.errors import ResourceError
from pipeline.datasets.readers.factors import factors_to_labels, select_factors
from pipeline.datasets.readers.scenes import render_scenes
from pipeline.datasets.readers.scenes.file import write_scenes
from pipeline.datasets.readers.scenes.geometry import FLOOR, OBJECT, SAMPLES, SIZE, SKY, WALL, cast_scene
from pipeline.datasets.readers.scenes.render import layers
from pipeline.datasets.readers.scenes.solids import SHAPES, meet_solid

FRONT = 7
FOCAL, RADIUS = 68.7, 0.737


def surface_of(scale: int, shape: int, orientation: int) -> np.ndarray:
    return cast_scene(scale, shape, orientation).surface.reshape(SIZE * SAMPLES, SIZE * SAMPLES)


# --- the room -------------------------------------------------------------------------------------------------------


def test_front_view_has_wall_from_row_17_and_floor_from_row_41_in_all_columns():
    sky, surfaces = layers(0, 0, FRONT)
    floor_share = (surface_of(0, 0, FRONT) == FLOOR).reshape(SIZE, SAMPLES, SIZE, SAMPLES).mean(axis=(1, 3))
    free = np.r_[3:22, 42:61]
    assert (sky[16, free] > 0.9).all()
    assert (sky[18, free] < 0.1).all()
    assert ((sky[17, free] > 0.05) & (sky[17, free] < 0.95)).all()
    assert (floor_share[41, free] == 1).all()
    assert (floor_share[39, free] == 0).all()
    assert (surfaces[1, -1, 20:39][:, free] > 100).all()


CORNERS = {0: 44, 1: 48, 2: 51, 3: 55, 4: 59, 5: 63, 6: None, 7: None, 8: None}
CORNERS |= {9: 1, 10: 5, 11: 9, 12: 13, 13: 16, 14: 20}


@pytest.mark.parametrize(("orientation", "column"), list(CORNERS.items()))
def test_room_corner_stands_where_measured(orientation, column):
    samples = cast_scene(0, 0, orientation)
    row = samples.gain.reshape(SIZE * SAMPLES, -1)[24 * SAMPLES]
    jumps = np.flatnonzero(np.abs(np.diff(row)) > 0.05)
    if column is None:
        assert jumps.size == 0
    else:
        assert jumps.size == 1
        assert (jumps[0] + 1) / SAMPLES == pytest.approx(column, abs=0.5)


@pytest.mark.parametrize("orientation", range(7))
def test_room_and_object_of_mirrored_orientations_are_mirror_images(orientation):
    for shape in range(4):
        left, right = surface_of(3, shape, orientation), surface_of(3, shape, 14 - orientation)
        assert (left != right[:, ::-1]).mean() < 1e-3


def test_light_is_not_mirrored():
    left, right = render_scenes(np.array([[0, 5, 6, 3, 2, 3], [0, 5, 6, 3, 2, 11]])).astype(float)
    assert np.abs(left - right[:, ::-1]).mean() > 3


# --- the object -----------------------------------------------------------------------------------------------------


def extent(shape: int, scale: int) -> tuple[float, float]:
    """Half width and top row of the object's silhouette in the front view, in pixels."""
    rows, columns = np.nonzero(surface_of(scale, shape, FRONT) == OBJECT)
    return (columns.max() - columns.min() + 1) / SAMPLES / 2, rows.min() / SAMPLES


@pytest.mark.parametrize("scale", [0, 4, 7])
def test_silhouettes_have_the_widths_of_perspective(scale):
    m = 1 + (2 / 3) * scale / 7
    half = 0.0771 * m
    expected = {
        0: FOCAL * half / (RADIUS - half),
        1: FOCAL * np.tan(np.arcsin(0.0826 * m / RADIUS)),
        3: FOCAL * np.tan(np.arcsin(0.0716 * m / RADIUS)),
    }
    for shape, width in expected.items():
        assert extent(shape, scale)[0] == pytest.approx(width, abs=0.3)
    top = 32.05 - FOCAL * (2 * half - 0.2197) / (RADIUS - half)
    if 2 * half > 0.2197:
        assert extent(0, scale)[1] == pytest.approx(top, abs=0.3)


def signed_distance(shape: str, size: float, p: np.ndarray) -> np.ndarray:
    """Textbook signed distance functions of the four objects, standing on y = 0; p is (3, n)."""
    x, y, z = p
    if shape == "cube":
        half = 0.0771 * size
        q = np.abs(np.stack([x, y - half, z])) - half
        return np.linalg.norm(np.maximum(q, 0), axis=0) + np.minimum(q.max(axis=0), 0)
    if shape == "cylinder":
        radius = 0.0826 * size
        q = np.stack([np.hypot(x, z) - radius, np.abs(y - radius) - radius])
        return np.linalg.norm(np.maximum(q, 0), axis=0) + np.minimum(q.max(axis=0), 0)
    if shape == "sphere":
        radius = 0.0935 * size
        return np.linalg.norm([x, y - radius, z], axis=0) - radius
    radius = 0.0716 * size
    along = np.clip(y, radius, 3 * radius)
    return np.linalg.norm([x, y - along, z], axis=0) - radius


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1.0, 5 / 3])
def test_rays_meet_solids_where_sphere_tracing_does(shape, size):
    rng = np.random.default_rng(0)
    origin = rng.uniform(-1, 1, (3, 400)) * 0.6 + np.array([[0], [0.8], [0]])
    target = rng.uniform(-1, 1, (3, 400)) * 0.2 + np.array([[0], [0.15], [0]])
    direction = target - origin
    direction /= np.linalg.norm(direction, axis=0)
    travelled = np.zeros(400)
    for _ in range(400):
        travelled += np.maximum(signed_distance(shape, size, origin + travelled * direction), 0)
    end = origin + travelled * direction
    hit = np.abs(signed_distance(shape, size, end)) < 1e-6
    assert hit.any()
    assert not hit.all()

    distance, normal = meet_solid(shape, size, origin.astype(np.float32), direction.astype(np.float32))
    grazing = hit != np.isfinite(distance)
    assert grazing.mean() < 0.02
    both = hit & np.isfinite(distance)
    assert np.allclose(distance[both], travelled[both], atol=2e-3)

    step = 1e-5
    gradient = [
        signed_distance(shape, size, end + step * e) - signed_distance(shape, size, end - step * e)
        for e in np.eye(3)[:, :, None]
    ]
    gradient = np.stack(gradient) / (2 * step)
    agreement = (gradient * normal).sum(axis=0)[both]
    assert (agreement > 0.99).mean() > 0.97


def test_unknown_shape_is_refused():
    with pytest.raises(ValueError, match="shape must be one of cube, cylinder, sphere, capsule, got 'cone'"):
        meet_solid("cone", 1.0, np.zeros((3, 1), np.float32), np.ones((3, 1), np.float32))


@pytest.mark.parametrize(("shape", "name"), list(enumerate(SHAPES)))
def test_floor_is_in_shadow_exactly_where_the_object_hides_the_lamp(shape, name):
    samples = cast_scene(5, shape, FRONT)
    size = 1 + (2 / 3) * 5 / 7
    grid = (np.arange(SIZE * SAMPLES) + 0.5) / SAMPLES
    down, right = np.meshgrid((grid - 32.05) / FOCAL, (grid - 32) / FOCAL, indexing="ij")
    floor = np.flatnonzero(samples.surface == FLOOR)[::97]
    t = 0.2197 / down.ravel()[floor]
    ground = np.stack([right.ravel()[floor] * t, np.zeros_like(t), RADIUS - t])
    lamp = np.array([[-0.40], [2.07], [-0.14]])
    along = np.linspace(1e-3, 0.5, 800)
    path = ground[:, None, :] + along[None, :, None] * (lamp - ground)[:, None, :]
    closest = signed_distance(name, size, path.reshape(3, -1)).reshape(len(along), -1).min(axis=0)
    dark = samples.gain[floor] < 0.3521  # ambient alone
    clear = np.abs(closest) > 2e-3
    assert dark[clear].any()
    assert np.array_equal(dark[clear], (closest < 0)[clear])


# --- colour ---------------------------------------------------------------------------------------------------------


def test_shading_formula_at_one_floor_point():
    samples = cast_scene(0, 0, FRONT)
    grid = (np.arange(SIZE * SAMPLES) + 0.5) / SAMPLES
    row, column = 250, 20
    t = 0.2197 / ((grid[row] - 32.05) / FOCAL)
    point = np.array([(grid[column] - 32) / FOCAL * t, 0, RADIUS - t])
    to_lamp = np.array([-0.40, 2.07, -0.14]) - point
    rise = to_lamp[1] / np.linalg.norm(to_lamp)
    assert samples.gain[row * SIZE * SAMPLES + column] == pytest.approx(0.352 + 0.963 * rise**11, abs=1e-5)


def test_back_wall_shading_at_one_point():
    samples = cast_scene(0, 0, FRONT)
    grid = (np.arange(SIZE * SAMPLES) + 0.5) / SAMPLES
    row, column = 100, 30
    t = 1 + RADIUS
    point = np.array([(grid[column] - 32) / FOCAL * t, 0.2197 - (grid[row] - 32.05) / FOCAL * t, -1])
    to_lamp = np.array([-0.40, 2.07, -0.14]) - point
    to_lamp /= np.linalg.norm(to_lamp)
    expected = 0.352 + 0.589 + 0.963 * to_lamp[2] * to_lamp[1] ** 10
    assert samples.surface[row * SIZE * SAMPLES + column] == WALL
    assert samples.gain[row * SIZE * SAMPLES + column] == pytest.approx(expected, abs=1e-5)


def test_colours_are_the_ten_hues_and_the_sky_is_constant():
    hues = [(255, 0, 0), (255, 153, 0), (204, 255, 0), (51, 255, 0), (0, 255, 102)]
    hues += [(0, 255, 255), (0, 102, 255), (51, 0, 255), (204, 0, 255), (255, 0, 153)]
    assert np.allclose([colorsys.hsv_to_rgb(i / 10, 1, 1) for i in range(10)], np.array(hues) / 255)
    images = render_scenes(np.array([[i, i, i, 0, 0, FRONT] for i in range(10)]))
    for image, hue in zip(images.astype(float), hues, strict=True):
        assert (image[3, 3:-3] == (153, 226, 249)).all()
        for row in (26, 60):  # wall and floor
            gain = image[row, 4].max() / 255
            assert np.abs(image[row, 4] - np.array(hue) * gain).max() <= 1 or gain > 0.99


def test_gloss_whitens_the_lit_part_of_the_object_only():
    samples = cast_scene(7, 2, FRONT)
    assert set(np.unique(samples.surface[samples.highlight])) == {OBJECT}
    assert 0.1 < samples.highlight[samples.surface == OBJECT].mean() < 0.9
    assert not samples.gain[samples.surface == SKY].any()


def test_reduction_keeps_flat_areas_and_overshoots_at_edges():
    sky, _ = layers(0, 0, FRONT)
    assert np.allclose(sky[:12, 3:-3], 1, atol=1e-5)
    assert sky.max() > 1.02
    assert sky.min() < -0.02


# --- any subset, any order ------------------------------------------------------------------------------------------


def test_pictures_do_not_depend_on_their_company():
    factors = select_factors("scale=2,orientation=5")[::371]
    order = np.random.default_rng(1).permutation(len(factors))
    assert np.array_equal(render_scenes(factors)[order], render_scenes(factors[order]))
    assert np.array_equal(render_scenes(factors)[3], render_scenes(factors[3:4])[0])
    assert render_scenes(factors[:0]).shape == (0, 64, 64, 3)


def test_every_factor_changes_the_picture():
    base = np.array([[2, 5, 6, 3, 1, 4]])
    picture = render_scenes(base)[0].astype(float)
    for column in range(6):
        other = base.copy()
        other[0, column] += 1
        assert np.abs(render_scenes(other)[0] - picture).mean() > 1.5


def test_file_has_the_layout_of_the_original(tmp_path):
    factors = select_factors("wall_hue=5,object_hue=6,scale=1,shape=2")[:40]
    path = tmp_path / "raw" / "some.h5"
    write_scenes(path, factors)
    with h5py.File(path) as opened:
        file: Any = opened
        assert set(file) == {"images", "labels"}
        assert (file["images"].shape, file["images"].dtype) == ((40, 64, 64, 3), np.uint8)
        assert (file["labels"].shape, file["labels"].dtype) == ((40, 6), np.float64)
        assert np.array_equal(file["labels"][:], factors_to_labels(factors))
        assert np.array_equal(file["images"][:], render_scenes(factors))


def test_file_is_not_started_on_a_full_disk(tmp_path, monkeypatch):
    usage = os.statvfs(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": usage.f_frsize})())
    with pytest.raises(ResourceError, match="free disk"):
        write_scenes(tmp_path / "some.h5", select_factors("configuration_1"))
    assert list(tmp_path.iterdir()) == []
