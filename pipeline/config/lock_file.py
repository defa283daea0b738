"""Reading ``dvc.lock``: which content the outputs of an experiment's stages should have."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml

from pipeline.config.safe_yaml import compose, safe_load
from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.core.text import reason_of

_Found = TypeVar("_Found")


def locked_outputs(root: Path, experiment: str) -> dict[str, dict[str, str]]:
    """Return by stage of an experiment path below the root to MD5 of each output, ``….dir`` for a folder.

    None without a file.

    Raises:
        DataError: the file is damaged.
    """

    def outputs(stages: dict[str, Any]) -> dict[str, dict[str, str]]:
        return {name: {out["path"]: out["md5"] for out in stage.get("outs", [])} for name, stage in stages.items()}

    return _of_stages(root, experiment, outputs)


def locked_paths(root: Path, experiment: str) -> list[str]:
    """Return all inputs, outputs and files of parameters of an experiment's stages; none without a file.

    Raises:
        DataError: the file is damaged.
    """

    def paths(stages: dict[str, Any]) -> list[str]:
        every = stages.values()
        named = {entry["path"] for stage in every for kind in ("deps", "outs") for entry in stage.get(kind, [])}
        return sorted(named.union(*(stage.get("params", {}) for stage in every)))

    return _of_stages(root, experiment, paths)


def locked_params(root: Path, experiment: str) -> dict[str, Any]:
    """Return the parameters that the stages of an experiment last ran with: dotted key in its section to the value.

    None without a file. Stages read what stage resolve writes; those of earlier releases read ``params.yaml`` itself.

    Raises:
        DataError: the file is damaged.
    """
    prefix = f"experiments.{experiment}."
    resolved = Layout(root, experiment).resolved.relative_to(root).as_posix()

    def values(stages: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for params in (stage.get("params", {}) for stage in stages.values()):
            earlier = params.get("params.yaml", {}).items()
            found |= {key.removeprefix(prefix): value for key, value in earlier if key.startswith(prefix)}
            found |= params.get(resolved, {})
        return found

    return _of_stages(root, experiment, values)


def _of_stages(root: Path, experiment: str, take: Callable[[dict[str, Any]], _Found]) -> _Found:
    """Return what is taken of an experiment's stages by name; there are none without a file."""
    path, suffix = root / "dvc.lock", f"@{experiment}"
    try:
        raw: Any = safe_load(path.read_text(encoding="utf-8")) if path.exists() else {"stages": {}}
        every = raw["stages"].items()
        return take({name.removesuffix(suffix): stage for name, stage in every if name.endswith(suffix)})
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} must be as DVC wrote it, but {reason_of(error)}; restore it from git") from None


def says_nothing(text: str) -> bool:
    """Tell whether ``dvc.lock`` has no stage left, and nothing else that somebody may want: DVC writes it anew."""
    found: Any = safe_load(text)
    return found.keys() <= {"schema", "stages"} and not found["stages"]


def without_stages(text: str, experiment: str) -> tuple[str, int]:
    """Return ``dvc.lock`` without the stages of an experiment, and how many there were; all else stays as it is.

    Raises:
        DataError: the file is damaged.
    """
    try:
        stages = next(value for key, value in compose(text).value if key.value == "stages").value
        starts = [(key.value, text.rfind("\n", 0, key.start_mark.index) + 1) for key, _ in stages]
        after = stages[-1][1].end_mark.index if stages else len(text)
    except (yaml.YAMLError, StopIteration, TypeError, AttributeError) as error:
        raise DataError(f"dvc.lock must be as DVC wrote it, but {reason_of(error)}; restore it from git") from None
    bounds = [start for _, start in starts] + [after]
    cuts = [bounds[n : n + 2] for n, (name, _) in enumerate(starts) if name.endswith(f"@{experiment}")]
    left = text
    for start, stop in reversed(cuts):
        left = left[:start] + left[stop:]
    if cuts and len(cuts) == len(starts):
        left = left.replace("stages:", "stages: {}")
    wanted = {name: stage for name, stage in safe_load(text)["stages"].items() if not name.endswith(f"@{experiment}")}
    if safe_load(left)["stages"] != wanted:
        raise DataError("dvc.lock must be as DVC writes it, one stage after the other; run facets rebuild, then again")
    return left, len(cuts)
