"""Reading ``params.yaml``: every experiment, the values that its section leaves to a preset filled in."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from pipeline.config.parse import parse
from pipeline.config.resolve import KEY, flat, origin_of, preset_names, resolve
from pipeline.config.safe_yaml import events, safe_load
from pipeline.config.sections import Experiment
from pipeline.core.errors import ConfigError
from pipeline.core.naming import check_experiment_name
from pipeline.core.text import reason_of
from pipeline.core.upgrades import PARAMETERS


@dataclass(frozen=True)
class Params:
    """All of ``params.yaml``: every experiment, and which of them ``dvc repro`` rebuilds."""

    active: tuple[str, ...]
    experiments: dict[str, Experiment]

    def experiment(self, name: str) -> Experiment:
        """Return one experiment.

        Raises:
            ConfigError: there is none of that name, or it is no name.
        """
        check_experiment_name(name)
        if name not in self.experiments:
            raise ConfigError(f"experiment {name!r} is unknown; params.yaml has {', '.join(sorted(self.experiments))}")
        return self.experiments[name]


def load_params(root: Path) -> Params:
    """Parse and check all of ``params.yaml`` below a repository root.

    Raises:
        ConfigError: the file is missing, no YAML, or breaks a rule; the message names key, value and legal ones.
    """
    raw = parse_text(_read(root))
    unknown = sorted(set(raw) - {"active", "experiments"} - {key for key in raw if str(key).startswith("x-")})
    if unknown:
        raise ConfigError(
            f"{unknown[0]} is unknown; legal keys at the top of params.yaml: active, experiments, x-… for notes"
        )
    active = parse(tuple[str, ...], raw.get("active"), "active")
    if not active:
        raise ConfigError("active must name at least one experiment, got an empty list")
    sections = raw["experiments"]
    for name in sections:
        check_experiment_name(name, f"experiments.{str(name).encode('unicode_escape').decode()}")
        pairs = f"{name}_pairs"
        if pairs in sections:
            raise ConfigError(
                f"experiments must not be called {name} and {pairs}, as hints/{pairs}.csv would belong to both; rename "
                "one of them"
            )
    params = Params(active, {name: parse_experiment(value, f"experiments.{name}") for name, value in sections.items()})
    for name in active:
        if name not in params.experiments:
            raise ConfigError(f"active names {name!r}, which is unknown; params.yaml has {', '.join(sorted(sections))}")
    return params


def parameter_origins(root: Path, experiment: str) -> Iterator[tuple[str, Any, str]]:
    """Yield each parameter of an experiment: dotted key, value, and where it comes from.

    Args:
        root: of the repository.
        experiment: its name.

    Raises:
        ConfigError: as :func:`load_params`.
    """
    found, where = load_params(root).experiment(experiment), f"experiments.{experiment}"
    section = parse_text(_read(root))["experiments"][experiment]
    for key, value in flat(asdict(found)):
        yield key, value, origin_of(section, where, key)


def require_spelled_out(root: Path) -> None:
    """Refuse parameters that experiments share by anchors: a value that ``dvc exp run -S`` sets there may get lost.

    Raises:
        ConfigError: there is an alias; the message names its line.
    """
    found = events((root / "params.yaml").read_text(encoding="utf-8"))
    alias = next((event for event in found if isinstance(event, yaml.AliasEvent)), None)
    if alias is not None:
        raise ConfigError(
            "params.yaml must be spelled out for dvc exp run, whose -S does not reach values shared by anchors, "
            f"got *{alias.anchor} in line {alias.start_mark.line + 1}; write the section out"
        )


def parse_experiment(section: Any, where: str) -> Experiment:
    """Return one experiment, the values that it leaves to its preset filled in.

    Args:
        section: as ``params.yaml`` has it.
        where: dotted path of the section, for messages.

    Raises:
        ConfigError: it breaks a rule.
    """
    if not isinstance(section, dict):
        return parse(Experiment, section, where)  # which says what it must be
    values = resolve(section, where)
    missing = [field.name for field in fields(Experiment) if field.name not in values]
    if missing and KEY not in section:
        raise ConfigError(
            f"{where}.{missing[0]} is missing; write it, or name a preset that has it ({', '.join(preset_names())}) as "
            f"{where}.{KEY}"
        )
    try:
        return parse(Experiment, values, where)
    except ConfigError as error:
        if PARAMETERS.upgrade(values, where) == PARAMETERS.stamp(values):
            raise
        raise ConfigError(f"{error}; an earlier release wrote it: facets upgrade shows what to change") from None


def parse_text(text: str) -> dict[Any, Any]:
    """Return what the text of a ``params.yaml`` says; its experiments are not checked yet.

    Raises:
        ConfigError: it is no YAML, or has no experiments.
    """
    try:
        raw = safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"params.yaml must be YAML, but {reason_of(error)}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"params.yaml must be a section with keys, got {raw!r}")
    sections = raw.get("experiments")
    if not isinstance(sections, dict) or not sections:
        raise ConfigError(f"experiments must be a section with keys, got {sections!r}")
    return raw


def _read(root: Path) -> str:
    path = root / "params.yaml"
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing; run this in the repository's root") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"params.yaml must be YAML, but {reason_of(error)}") from None
