"""Reading ``dvc.lock``: which content the outputs of an experiment's stages should have."""

from pathlib import Path
from typing import Any

import yaml

from pipeline.config.safe_yaml import safe_load
from pipeline.core.errors import DataError
from pipeline.core.text import reason_of


def locked_outputs(root: Path, experiment: str) -> dict[str, str]:
    """Return path below the root to MD5 of each output of an experiment, ``….dir`` for a folder; none without a file.

    Raises:
        DataError: the file is damaged.
    """
    path = root / "dvc.lock"
    if not path.exists():
        return {}
    try:
        raw: Any = safe_load(path.read_text(encoding="utf-8"))
        stages = {name: stage for name, stage in raw["stages"].items() if name.endswith(f"@{experiment}")}
        return {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", [])}
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} must be as DVC wrote it, but {reason_of(error)}; restore it from git") from None
