"""Parameters that must be those of before: of ids, for the life of an experiment; of a model, until it is rebuilt."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from pipeline.config.lock_file import locked_params
from pipeline.config.sections import Experiment, PreprocessParams
from pipeline.core.errors import ConfigError, DataError
from pipeline.core.layout import Layout
from pipeline.core.upgrades import PARAMETERS, Record, read_record
from pipeline.tables import History

_MAY_DIFFER = ("score", "report", "assign.batch_size")
"""What changes neither the model nor what it says of an image."""


def require_fixed_params(layout: Layout, params: PreprocessParams) -> None:
    """Refuse another ``preprocess.brightest`` or backbone than that of the model in service.

    Of another brightest, the same files would get other ids: removed images would come back, delivered ones be taken
    twice, and clusters lose theirs. Batches keep 8 bits, or the features, so they can follow neither.

    Args:
        layout: of the experiment.
        params: its section ``preprocess``.

    Raises:
        ConfigError: it differs.
    """
    history = History(layout.published)
    if history.current() is None:
        return
    section: Record | None = None
    with suppress(DataError):  # a damaged file is written anew by what this is asked for
        section = read_record(history.model_folder() / "params.json", PARAMETERS).get("preprocess")
    if section is None:
        return
    if section["brightest"] != params.brightest:
        found, kept = ("null" if value is None else value for value in (params.brightest, section["brightest"]))
        raise ConfigError(
            f"preprocess.brightest of {layout.experiment} must stay {kept}, as the ids of what is published depend on "
            f"it, got {found}; put it back, or make another experiment with facets new"
        )
    before = (section["features"] or {}).get("backbone")
    now = None if params.features is None else params.features.backbone
    if before != now:
        raise ConfigError(
            f"preprocess.features of {layout.experiment} must stay {before or 'null'}, as batches of "
            f"deliveries cannot follow, got {now or 'null'}; put it back, or make another experiment with facets new"
        )


def require_trained_params(layout: Layout, experiment: Experiment) -> None:
    """Refuse to publish a model beside parameters that it was not made with.

    Deliveries are prepared as the parameters beside their model say. DVC noted what its stages ran with; where it ran
    none, nothing is known. Keys that only one of the two has came, or went, with another release.

    Args:
        layout: of the experiment.
        experiment: its parameters, to be recorded.

    Raises:
        ConfigError: some differ.
        DataError: ``dvc.lock`` is damaged.
    """
    now = json.loads(json.dumps(asdict(experiment)))
    made_with = locked_params(layout.root, layout.experiment)
    differ = {key for name, value in made_with.items() for key in _changed(name, value, _value_at(now, name))}
    changed = sorted(key for key in differ if not f"{key}.".startswith(tuple(f"{name}." for name in _MAY_DIFFER)))
    if changed:
        raise ConfigError(
            f"parameters must be those that the model of {layout.experiment} was made with, but params.yaml has other "
            f"values of {', '.join(changed)}; run facets rebuild {layout.experiment}, or put them back"
        )


def _value_at(params: Any, key: str) -> Any:
    for name in key.split("."):
        params = params.get(name) if isinstance(params, Mapping) else None
    return params


def _changed(key: str, before: Any, now: Any) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in before.keys() & now.keys():
            yield from _changed(f"{key}.{name}", before[name], now[name])
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for place, (old, new) in enumerate(zip(before, now, strict=True)):
            yield from _changed(f"{key}[{place}]", old, new)
    elif before != now and not _is_written(before, now):
        yield key


def _is_written(text: Any, number: Any) -> bool:
    """Tell whether a text is how DVC writes a number: 1e-06 is one in YAML 1.2, which it speaks, but not in 1.1."""
    with suppress(ValueError):
        return isinstance(text, str) and isinstance(number, float) and float(text) == number
    return False
