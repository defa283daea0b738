"""Reading ``dvc.yaml``: which stages an experiment has."""

from pathlib import Path
from typing import Any

import yaml

from pipeline.config.safe_yaml import safe_load
from pipeline.core.errors import ConfigError
from pipeline.core.text import reason_of


def stage_names(root: Path) -> tuple[str, ...]:
    """Return the stages that every experiment runs, in the file's order, which their dependencies allow.

    Raises:
        ConfigError: the file is missing or damaged.
    """
    path = root / "dvc.yaml"
    try:
        stages: Any = safe_load(path.read_text(encoding="utf-8"))["stages"]
        return tuple(name for name, stage in stages.items() if "experiment" in stage.get("matrix", {}))
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing; run this in the repository's root") from None
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} must list the stages, but {reason_of(error)}; restore it from git") from None
