"""The six factors behind the 3DShapes images: names, sizes, order in the file, and how a person chooses some."""

import numpy as np
from jaxtyping import Float64, Int64

from pipeline.core.errors import ConfigError, DataError

FACTORS = {"floor_hue": 10, "wall_hue": 10, "object_hue": 10, "scale": 8, "shape": 4, "orientation": 15}
"""Number of values a factor takes, in the order of the label columns; the last factor varies fastest."""

_VALUES = (
    *([np.arange(10) / 10] * 3),
    np.linspace(0.75, 1.25, 8),
    np.arange(4.0),
    np.linspace(-30.0, 30.0, 15),
)
"""Label values as the original file stores them, quirks of binary fractions included."""

_CONFIGURATIONS = {
    "configuration_1": "wall_hue=5,object_hue=6",  # floor hue, scale, shape and orientation vary
    "configuration_2": "floor_hue=0,object_hue=6",  # wall hue, scale, shape and orientation vary
}


def select_factors(selection: str | None) -> Int64[np.ndarray, "image 6"]:
    """Return the factor indices of the chosen images, in the order of the file.

    Args:
        selection: ``configuration_1``, ``configuration_2`` (paper, section 4), a list of fixed factors such as
            ``floor_hue=0,wall_hue=5``, or None for all 480,000 combinations.

    Raises:
        ConfigError: an unknown name, a factor named twice or an index outside its range.
    """
    fixed = _parse(_CONFIGURATIONS.get(selection, selection) if selection else "")
    axes = [np.array([fixed[name]]) if name in fixed else np.arange(size) for name, size in FACTORS.items()]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(FACTORS)).astype(np.int64)


def file_rows(factors: Int64[np.ndarray, "image 6"]) -> Int64[np.ndarray, " image"]:
    """Return the rows at which factor combinations stand in the complete ``3dshapes.h5``."""
    return np.asarray(np.ravel_multi_index(tuple(factors.T), tuple(FACTORS.values())), np.int64)


def factors_to_labels(factors: Int64[np.ndarray, "image 6"]) -> Float64[np.ndarray, "image 6"]:
    """Return the float labels that the original file holds for factor indices."""
    return np.stack([values[column] for values, column in zip(_VALUES, factors.T, strict=True)], axis=1)


def labels_to_factors(labels: Float64[np.ndarray, "image 6"]) -> Int64[np.ndarray, "image 6"]:
    """Return the factor indices of float labels, by the nearest legal value.

    Rounding matters: 0.8214… − 0.75 times 14 is a little below 1, so that truncation would merge two scales.

    Raises:
        DataError: a label lies farther from every legal value than binary fractions explain.
    """
    factors = np.empty(labels.shape, np.int64)
    for column, (name, values) in enumerate(zip(FACTORS, _VALUES, strict=True)):
        distance = np.abs(labels[:, column, None] - values)
        factors[:, column] = distance.argmin(axis=1)
        worst = distance.min(axis=1)
        if not (worst < 1e-3).all():
            row = int(np.argmax(~(worst < 1e-3)))
            raise DataError(
                f"labels of {name} must be one of {', '.join(f'{value:.4g}' for value in values)}, "
                f"got {labels[row, column]!r} in row {row}; fetch the file again"
            )
    return factors


def _parse(selection: str) -> dict[str, int]:
    fixed: dict[str, int] = {}
    for part in filter(None, selection.split(",")):
        name, _, value = (text.strip() for text in part.partition("="))
        if name not in FACTORS:
            raise ConfigError(
                f"factors must be {', '.join(_CONFIGURATIONS)} or name=index pairs of {', '.join(FACTORS)}, "
                f"got {part!r}"
            )
        if name in fixed:
            raise ConfigError(f"factors must name each factor once, got {name} twice; remove one")
        if not value.isdecimal() or int(value) >= FACTORS[name]:
            raise ConfigError(f"factors: {name} must be a whole number below {FACTORS[name]}, got {value!r}")
        fixed[name] = int(value)
    return fixed
