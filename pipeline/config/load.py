"""Reading ``params.yaml``: the whole file, one experiment, or just the sections that a stage declares."""

from dataclasses import dataclass, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from pipeline.config.parse import parse
from pipeline.config.safe_yaml import events, safe_load
from pipeline.config.sections import Experiment
from pipeline.core.errors import ConfigError
from pipeline.core.naming import check_experiment_name
from pipeline.core.text import reason_of


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
    raw = _read(root)
    unknown = sorted(set(raw) - {"active", "experiments"} - {key for key in raw if str(key).startswith("x-")})
    if unknown:
        raise ConfigError(
            f"{unknown[0]} is unknown; legal keys at the top of params.yaml: active, experiments, x-… for notes"
        )
    active = parse(tuple[str, ...], raw.get("active"), "active")
    if not active:
        raise ConfigError("active must name at least one experiment, got an empty list")
    sections = raw.get("experiments")
    if not isinstance(sections, dict) or not sections:
        raise ConfigError(f"experiments must be a section with keys, got {sections!r}")
    for name in sections:
        check_experiment_name(name, f"experiments.{str(name).encode('unicode_escape').decode()}")
        pairs = f"{name}_pairs"
        if pairs in sections:
            raise ConfigError(
                f"experiments must not be called {name} and {pairs}, as hints/{pairs}.csv would belong to both; rename "
                "one of them"
            )
    params = Params(active, {name: parse(Experiment, value, f"experiments.{name}") for name, value in sections.items()})
    for name in active:
        if name not in params.experiments:
            raise ConfigError(f"active names {name!r}, which is unknown; params.yaml has {', '.join(sorted(sections))}")
    return params


def load_sections(root: Path, experiment: str, sections: tuple[str, ...]) -> Any:
    """Return a namespace with only the named sections of an experiment, so that a stage reads what it declares.

    Args:
        root: of the repository.
        experiment: its name.
        sections: names of sections, or ``section.key`` for a single key of one.

    Raises:
        ConfigError: as :func:`load_params`.
    """
    whole = load_params(root).experiment(experiment)
    legal = {field.name for field in fields(Experiment)}
    found: dict[str, Any] = {}
    for name in sections:
        section, _, key = name.partition(".")
        if section in legal:
            value = getattr(whole, section)
            found[section] = SimpleNamespace(**{key: getattr(value, key)}) if key else value
    return SimpleNamespace(**found)


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


def _read(root: Path) -> dict[Any, Any]:
    path = root / "params.yaml"
    try:
        raw = safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing; run this in the repository's root") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"params.yaml must be YAML, but {reason_of(error)}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"params.yaml must be a section with keys, got {raw!r}")
    return raw
