"""The full parameters of an experiment in a file of their own: what stages read, and in which DVC sees each value.

DVC compares what a stage declares with ``dvc.lock`` key by key, but sees only what is written in a file; of a section
of ``params.yaml`` that names a preset most is not. So stage ``resolve`` writes all of it.
"""

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_type_hints

from pipeline.config.load import load_params
from pipeline.config.parse import parse
from pipeline.config.sections import Experiment
from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.core.storage import read_json, write_json
from pipeline.core.text import to_json


def write_resolved(layout: Layout) -> None:
    """Write the parameters of an experiment as they are now, presets filled in; a file that has them stays as it is.

    Raises:
        ConfigError: ``params.yaml`` breaks a rule, or does not have the experiment.
    """
    values = json.loads(to_json(asdict(load_params(layout.root).experiment(layout.experiment))))  # lists, no tuples
    with suppress(DataError):  # a damaged one
        if layout.resolved.is_file() and read_json(layout.resolved) == values:
            return
    write_json(layout.resolved, values)


def load_sections(root: Path, experiment: str, sections: tuple[str, ...]) -> Any:
    """Return a namespace with only the named sections of an experiment, so that a stage reads what it declares.

    Args:
        root: of the repository.
        experiment: its name.
        sections: names of sections, or ``section.key`` for a single key of one.

    Raises:
        ConfigError: the file is not what stage ``resolve`` of this release wrote.
        DataError: there is none, or it is damaged.
    """
    if not sections:
        return SimpleNamespace()
    layout = Layout(root, experiment)
    values, kinds = read_json(layout.resolved), get_type_hints(Experiment, include_extras=True)
    found: dict[str, Any] = {}
    for name in sections:
        section, _, key = name.partition(".")
        value = parse(kinds[section], values.get(section), f"{layout.resolved}: {section}")
        found[section] = SimpleNamespace(**{key: getattr(value, key)}) if key else value
    return SimpleNamespace(**found)
