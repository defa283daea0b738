"""Hold the renderer against real 3DShapes frames whose factors are unknown.

    python -m benchmarks.scenes FRAMES.npy

Every frame's factors are found by a full search over the grid. Writes results/scenes.json beside this file and a
picture of each real frame above its rendering to docs/pictures/.
"""

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.machine import describe_machine
from pipeline.core.storage import atomic_file, write_json
from pipeline.datasets.readers.factors import FACTORS, select_factors
from pipeline.datasets.readers.scenes import render_scenes
from pipeline.datasets.readers.scenes.geometry import OBJECT, SAMPLES, SIZE, WALL, cast_scene
from pipeline.datasets.readers.scenes.render import layers

_INNER = slice(1, 63)  # the outermost row and column of the real frames are blended with a plot's frame
_CORNER_COLUMNS = {0: 44, 1: 48, 2: 51, 3: 55, 4: 59, 10: 5, 11: 9, 12: 13, 13: 16, 14: 20}
_HERE = Path(__file__).parent


def main(frames_path: Path) -> None:
    """Search, measure, write."""
    real = np.load(frames_path, allow_pickle=False)
    factors = np.stack([_find_factors(frame) for frame in real])
    rendered = render_scenes(factors)
    error = np.abs(real.astype(float) - rendered)[:, _INNER, _INNER].mean(axis=(1, 2, 3))
    differences = [_differences(*three) for three in zip(real, rendered, factors, strict=True)]
    result = {
        "command": "python -m benchmarks.scenes FRAMES.npy",
        "machine": describe_machine(),
        "frames": len(real),
        "mean_abs_error": round(float(error.mean()), 3),
        "worst_frame": round(float(error.max()), 3),
        "difference_in_pixels": {key: _summary([d[key] for d in differences]) for key in differences[0]},
        "seconds_for_configuration_1": round(_time_configuration(), 2),
        "factors_found": [dict(zip(FACTORS, row, strict=True)) for row in factors.tolist()],
    }
    write_json(_HERE / "results" / "scenes.json", result)
    _save_picture(real, rendered, _HERE.parent / "docs" / "pictures" / "scenes_side_by_side.png")
    print({key: value for key, value in result.items() if key != "factors_found"})


def _find_factors(frame: np.ndarray) -> np.ndarray:
    """Return the best of all 480 geometries, each with its best hues, judged where a surface fills the pixel."""
    candidates = np.array([_best_hues(frame, *geometry) for geometry in np.ndindex(8, 4, 15)])
    error = np.abs(render_scenes(candidates).astype(np.int16) - frame)[:, _INNER, _INNER].mean(axis=(1, 2, 3))
    return candidates[error.argmin()]


def _best_hues(frame: np.ndarray, scale: int, shape: int, orientation: int) -> list[int]:
    _, surfaces = layers(scale, shape, orientation)
    hues = []
    for column, surface in enumerate(surfaces):
        others = np.delete(surfaces, column, axis=0)[:, -1]
        rows, columns = np.nonzero((surface[-1] > 20) & (np.abs(others).max(axis=0) < 1e-3))
        palette = np.zeros((10, 6), np.int64)
        palette[:, column] = range(10)
        palette[:, 3:] = scale, shape, orientation
        candidates = render_scenes(palette)[:, rows, columns].astype(np.int16)
        hues.append(int(np.abs(candidates - frame[rows, columns]).sum(axis=(1, 2)).argmin()))
    return [*hues, scale, shape, orientation]


def _differences(real: np.ndarray, rendered: np.ndarray, factors: np.ndarray) -> dict[str, float | None]:
    """Compare edges, measured in the same way in both pictures; None where hues or view leave nothing to measure."""
    floor, wall, solid, scale, shape, orientation = factors.tolist()
    box = wall_floor = corner = None
    surface = cast_scene(scale, shape, orientation).surface.reshape(SIZE * SAMPLES, -1)[2::SAMPLES, 2::SAMPLES]
    free = ~(surface == OBJECT).any(axis=0)
    free[[0, 1, -2, -1]] = False
    if solid not in (floor, wall):
        hues = _colour(solid), _colour(floor), _colour(wall)
        box = float(np.abs(_box(real, *hues) - _box(rendered, *hues)).max())
    first_wall = (surface == WALL).argmax(axis=0)
    first_floor = SIZE - (surface == WALL)[::-1].argmax(axis=0)
    wall_top = _edge_difference(real, rendered, np.flatnonzero(free), first_wall)
    if floor != wall:
        wall_floor = _edge_difference(real, rendered, np.flatnonzero(free), first_floor)
    expected = _CORNER_COLUMNS.get(orientation)
    if expected and free[expected - 3 : expected + 4].all():
        rows = np.arange(first_wall[expected] + 3, first_floor[expected] - 3)
        sideways = real.transpose(1, 0, 2), rendered.transpose(1, 0, 2)
        corner = _edge_difference(*sideways, rows, np.full(SIZE, expected))
    return {"box": box, "wall_top": wall_top, "wall_floor": wall_floor, "corner": corner}


def _edge_difference(real: np.ndarray, rendered: np.ndarray, lines: np.ndarray, expected: np.ndarray) -> float:
    """Median, over lines, of how far the edge in the real picture lies from the rendered one (down the first axis)."""
    offsets = [_edge(real[:, i], int(expected[i])) - _edge(rendered[:, i], int(expected[i])) for i in lines]
    return abs(float(np.median(offsets)))


def _edge(line: np.ndarray, expected: int) -> float:
    """Return where a line of pixels crosses half-way between the colours 3 pixels before and after an expected edge."""
    before, after = (line[expected + shift].astype(float) for shift in (-4, 3))
    window = line[expected - 4 : expected + 4].astype(float)
    share = (window - before) @ (after - before) / ((after - before) @ (after - before))
    return expected + 4 - float(share.clip(0, 1).sum())


def _colour(hue: int) -> np.ndarray:
    palette = np.zeros((1, 6), np.int64)
    palette[0, :] = hue, 0, 0, 0, 0, 7
    return render_scenes(palette)[0, -4, 4].astype(float)


def _box(picture: np.ndarray, solid: np.ndarray, *others: np.ndarray) -> np.ndarray:
    """Return the extent (left, right, top, bottom) of pixels whose chromaticity is nearest to the object's."""
    sky = np.array([153.0, 226.0, 249.0])
    directions = np.stack([colour / np.linalg.norm(colour) for colour in (solid, *others, sky)])
    pixels = picture[_INNER, _INNER].astype(float)
    likeness = (pixels @ directions.T) / np.maximum(np.linalg.norm(pixels, axis=-1, keepdims=True), 1)
    mask = (likeness.argmax(axis=-1) == 0) & (pixels.max(axis=-1) > 40)
    rows, columns = (np.flatnonzero(mask.sum(axis=axis) >= 3) for axis in (1, 0))
    return np.array([columns[0], columns[-1], rows[0], rows[-1]])


def _summary(values: list[float | None]) -> dict[str, Any]:
    measured = [value for value in values if value is not None]
    return {
        "frames_measured": len(measured),
        "median": round(float(np.median(measured)), 3),
        "worst": round(max(measured), 3),
    }


def _time_configuration() -> float:
    layers.cache_clear()
    start = time.perf_counter()
    render_scenes(select_factors("configuration_1"))
    return time.perf_counter() - start


def _save_picture(real: np.ndarray, rendered: np.ndarray, path: Path) -> None:
    pairs = [np.concatenate(pair) for pair in zip(real, rendered, strict=True)]
    pairs = [np.pad(pair, ((2, 2), (2, 2), (0, 0)), constant_values=255) for pair in pairs]
    rows = [np.concatenate(pairs[i : i + 5], axis=1) for i in range(0, len(pairs) - len(pairs) % 5, 5)]
    picture = Image.fromarray(np.concatenate(rows))
    with atomic_file(path) as temporary:
        picture.resize((picture.width * 2, picture.height * 2), Image.Resampling.NEAREST).save(temporary, "PNG")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m benchmarks.scenes FRAMES.npy")
    main(Path(sys.argv[1]))
