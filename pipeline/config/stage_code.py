"""What a project takes from the installed release: the DAG, and one hash a stage of the code that the stage runs.

In the repository ``dvc.yaml`` names the parts of the library that a stage uses as dependencies. In a project the
library lies elsewhere, so ``stages/code.json`` has a hash of the same parts, which DVC compares like a parameter. Both
files are made of the repository's own ``dvc.yaml``, which the package contains.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.config.safe_yaml import safe_load
from pipeline.core.errors import ConfigError, DataError
from pipeline.core.storage import atomic_file, read_json

CODE_FILE = "stages/code.json"
DAG_FILE = "dvc.yaml"

RELEASE_FILES = Path(__file__).parents[1] / "project"
"""Files of a project as the release ships them."""

_DIGITS = 16
_KINDS = (".py", ".yaml")  # presets are of the second kind
_LIBRARY = Path(__file__).parents[1]
_PART = re.compile(r"^ +- (?:pipeline|stages)/.*\n", re.MULTILINE)
_DEPS = re.compile(r"^(?=    deps:\n {6})|^    deps:\n", re.MULTILINE)  # with the word itself where nothing is left
_STAGE = re.compile(r"^  (\w+):$", re.MULTILINE)
_HEAD = f"""\
# The DAG: one pipeline an experiment, over the experiments that params.yaml calls active. Written by facets init and
# facets upgrade. {CODE_FILE} has a hash of what each stage uses of the library, so that another release makes
# exactly those stages stale whose code it changes.
"""


def project_dag() -> str:
    """Return ``dvc.yaml`` of a project: the repository's, with hashes instead of the files of the library."""
    before, *parts = _STAGE.split(_PART.sub("", _shipped_dag().partition("stages:\n")[2]))
    stages = [
        f"  {name}:{_DEPS.sub(f'      - {CODE_FILE}: [{name}]{chr(10)}', text, 1)}"
        for name, text in zip(parts[::2], parts[1::2], strict=True)
    ]
    return f"{_HEAD}stages:\n{before}{''.join(stages)}"


def code_hashes() -> dict[str, str]:
    """Return what :data:`CODE_FILE` holds for this release: a hash for each stage, and one for the DAG itself."""
    stages: dict[str, Any] = safe_load(_shipped_dag())["stages"]
    dag = hashlib.sha256(project_dag().encode()).hexdigest()[:_DIGITS]
    return {DAG_FILE: dag, **{name: _hash_of(stages[name]["deps"]) for name in stages}}


def code_text() -> str:
    """Return the text of :data:`CODE_FILE` for this release."""
    return json.dumps(code_hashes(), indent=2) + "\n"


def keep_code_hashes(root: Path) -> None:
    """Bring a project's :data:`CODE_FILE` to this release; in the repository, which has none, nothing is done.

    Raises:
        ConfigError: ``dvc.yaml`` was written by a release whose DAG was another.
    """
    known, now = _kept(root), code_hashes()
    if known is None or known == now:
        return
    if known.get(DAG_FILE) != now[DAG_FILE]:
        raise ConfigError(f"{root / DAG_FILE} must be of the installed release, but is of another; run facets upgrade")
    with atomic_file(root / CODE_FILE) as temporary:
        temporary.write_text(code_text(), encoding="utf-8")


def require_code_hash(root: Path, stage: str) -> None:
    """Refuse to run a stage of which DVC would note that it was run by the code of another release.

    Raises:
        ConfigError: the project's :data:`CODE_FILE` is of another release.
    """
    known = _kept(root)
    if known is not None and stage in (now := code_hashes()) and known.get(stage) != now[stage]:
        raise ConfigError(f"{CODE_FILE} must be of the installed release, but is of another; run facets rebuild")


def is_project(root: Path) -> bool:
    """Tell whether a folder is a project of its own, rather than the repository with the library in it."""
    dag = root / DAG_FILE
    return dag.is_file() and CODE_FILE in dag.read_text(encoding="utf-8", errors="replace")


def _kept(root: Path) -> dict[str, Any] | None:
    """Return what a project's file holds, nothing where it is lost or damaged; None in the repository."""
    if not is_project(root):
        return None
    with suppress(DataError):
        found = read_json(root / CODE_FILE)
        return found if isinstance(found, dict) else {}
    return {}


def _shipped_dag() -> str:
    # Under another name: DVC takes every dvc.yaml of a repository for one of its own.
    return (RELEASE_FILES / "dag.yaml").read_text(encoding="utf-8")


def _hash_of(deps: list[str]) -> str:
    digest = hashlib.sha256()
    for path in _code(deps):
        digest.update(f"{path.relative_to(_LIBRARY)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:_DIGITS]


def _code(deps: list[str]) -> Iterator[Path]:
    """Yield the files of the library below the parts that ``dvc.yaml`` names; stages are a part of the package."""
    for dep in deps:
        if dep.startswith(("pipeline/", "stages/")):
            path = _LIBRARY / dep.removeprefix("pipeline/")
            yield from [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.suffix in _KINDS)
