"""Folders of images drawn for a benchmark: what people have lying around, in little."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.core.seeding import numpy_generator

_COLOURS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (50, 80, 220), "yellow": (230, 200, 40)}
_SHAPES = ("disc", "square", "cross", "bar")

Draw = Callable[[Path], Path | None]
"""Writes a folder; returns the table of the truth beside it, if there is one."""


def _shape(kind: str, side: int, colour: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """Return a coloured shape on a pale ground, "height width channel"."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2 - generator.uniform(-side / 12, side / 12, 2)[:, None, None]
    r = side * generator.uniform(0.22, 0.34)
    inside = {
        "disc": np.hypot(x, y) < r,
        "square": np.maximum(abs(x), abs(y)) < r * 0.9,
        "cross": (np.minimum(abs(x), abs(y)) < r / 3) & (np.maximum(abs(x), abs(y)) < r),
        "bar": (abs(x) < r / 3) & (abs(y) < r * 1.2),
    }[kind]
    image = np.where(inside[..., None], colour, generator.integers(180, 255, 3))
    return (image + generator.normal(0, 4, image.shape)).clip(0, 255).astype(np.uint8)


def _drawings(folder: Path, n: int, sides: tuple[int, ...], *, dark: bool = False, masks: bool = False) -> Path:
    generator = numpy_generator(0, "benchmark", folder.name)
    folder.mkdir(parents=True)
    rows: list[tuple[str, ...]] = [("file", "shape", "colour")]
    for i in range(n):
        shape, colour = str(generator.choice(_SHAPES)), str(generator.choice(list(_COLOURS)))
        image = _shape(shape, int(generator.choice(sides)), _COLOURS[colour], generator)
        name = f"images/{i:04}.png" if masks else f"{i:04}.png"
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(image // 12 if dark else image).save(folder / name)
        rows.append((name, shape, colour))
        if masks:
            (folder / "masks").mkdir(exist_ok=True)
            mask = np.where(image.min(2) < 150, 255, 0).astype(np.uint8)
            Image.fromarray(mask).save(folder / "masks" / f"{i:04}.png")
    return _write_truth(folder, rows)


def _same(folder: Path, n_distinct: int) -> None:
    generator = numpy_generator(0, "benchmark", "same")
    folder.mkdir(parents=True)
    distinct = [_shape("disc", 32, _COLOURS["red"], generator) for _ in range(n_distinct)]
    for i in range(200):
        Image.fromarray(distinct[i % n_distinct]).save(folder / f"{i:04}.png")


def _one_huge(folder: Path) -> Path:
    truth = _drawings(folder, 400, (40,))
    Image.fromarray(_shape("disc", 5000, _COLOURS["blue"], numpy_generator(0, "huge"))).save(folder / "huge.png")
    return truth


def _sprites(folder: Path) -> Path:
    """Write 440 figures of a game, 24 × 24 with a transparent ground: eight outlines in five palettes."""
    generator = numpy_generator(0, "benchmark", "sprites")
    folder.mkdir(parents=True)
    halves = [generator.random((20, 10)) < np.linspace(0.25, 0.9, 10) for _ in range(8)]
    outlines = [np.pad(np.hstack([half, half[:, ::-1]]), 2) for half in halves]
    palettes = generator.integers(0, 256, (5, 3, 3))
    rows: list[tuple[str, ...]] = [("file", "figure", "palette")]
    for i in range(440):
        figure, palette = int(generator.integers(8)), int(generator.integers(5))
        drawn = outlines[figure] ^ (generator.random((24, 24)) < 0.01)
        colours = palettes[palette][generator.integers(0, 3, 12)].repeat(2, axis=0)[:, None].repeat(24, axis=1)
        image = np.dstack([colours, drawn * 255]).astype(np.uint8)
        image = np.roll(image, generator.integers(-1, 2, 2), (0, 1))
        Image.fromarray(image).save(folder / f"{i:03}.png")
        rows.append((f"{i:03}.png", f"f{figure}", f"p{palette}"))
    return _write_truth(folder, rows)


def _write_truth(folder: Path, rows: list[tuple[str, ...]]) -> Path:
    truth = folder.parent / "truth.csv"
    with truth.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return truth


KINDS: dict[str, Draw] = {
    "drawings": lambda folder: _drawings(folder, 600, (48,)),
    "two_sizes": lambda folder: _drawings(folder, 500, (32, 64)),
    "masks": lambda folder: _drawings(folder, 300, (40,), masks=True),
    "near_black": lambda folder: _drawings(folder, 400, (32,), dark=True),
    "thirty": lambda folder: _drawings(folder, 30, (32,)),
    "one_huge": _one_huge,
    "all_equal": lambda folder: _same(folder, 1),
    "sprites": _sprites,
    "two_distinct": lambda folder: _same(folder, 2),
}
