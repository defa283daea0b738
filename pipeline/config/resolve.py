"""Presets: settings of the package under a name, and the full values of an experiment that names one.

A preset is part of an experiment in a file of its own, ``presets/NAME.yaml``; it may build upon another one by naming
it as an experiment does. What is written nearer to the experiment counts; mappings are merged, all else is replaced.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.config.safe_yaml import safe_load
from pipeline.core.errors import ConfigError

Values = Mapping[str, Any]

KEY = "preset"
"""Of an experiment or a preset: the preset that it builds upon."""

SECTION = "params.yaml"
"""Where a value comes from that stands in the experiment's own section."""

_PRESETS = Path(__file__).parent / "presets"


def preset_names() -> tuple[str, ...]:
    """Return the names of all presets."""
    return tuple(sorted(path.stem for path in _PRESETS.glob("*.yaml")))


def resolve(section: Values, where: str) -> dict[str, Any]:
    """Return the values of a section and, where it leaves some out, of its preset; not checked yet.

    Args:
        section: of one experiment, as ``params.yaml`` has it.
        where: dotted path of the section, for messages.

    Raises:
        ConfigError: there is no preset of that name.
    """
    found: dict[str, Any] = {}
    for _, values in reversed(_layers(section, where)):
        found = _merged(found, values)
    return found


def preset_values(name: str) -> dict[str, Any]:
    """Return what a preset says, and those that it builds upon."""
    return resolve({KEY: name}, name)


def origin_of(section: Values, where: str, key: str) -> str:
    """Return where a value of a resolved section comes from: ``params.yaml``, or which preset.

    Args:
        section: as of :func:`resolve`.
        where: as of :func:`resolve`.
        key: of the value, dotted.

    Raises:
        ConfigError: as :func:`resolve`.
    """
    return next(origin for origin, values in _layers(section, where) if _has(values, key.split(".")))


def flat(values: Values, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted key and value of all that is no mapping with keys."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _layers(section: Values, where: str) -> list[tuple[str, dict[str, Any]]]:
    """Return where values come from, and what stands there, the nearest first."""
    layers, origin = [], SECTION
    while True:
        layers.append((origin, {key: value for key, value in section.items() if key != KEY}))
        if KEY not in section:
            return layers
        name = section[KEY]
        if name not in preset_names():
            raise ConfigError(f"{where}.{KEY} must be one of {', '.join(preset_names())}, got {name!r}")
        section, origin = _read(name), f"preset {name}"


@cache
def _read(name: str) -> dict[str, Any]:
    return safe_load((_PRESETS / f"{name}.yaml").read_text(encoding="utf-8"))


def _merged(base: Values, over: Values) -> dict[str, Any]:
    both = {
        key: _merged(base[key], value)
        for key, value in over.items()
        if isinstance(value, Mapping) and isinstance(base.get(key), Mapping)
    }
    return {**base, **over, **both}


def _has(values: Any, names: list[str]) -> bool:
    for name in names:
        if not isinstance(values, Mapping) or name not in values:
            return False
        values = values[name]
    return True
