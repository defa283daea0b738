"""The name of this repository on a Prefect server, which may serve several; ``python -m`` prints it.

Two repositories often hold the same experiments, so everything on a server is called ``<experiment>@<repository>``.
The name is made once, from the folder's name and a random part, and stays when the folder is moved; a copy of the
folder gets one of its own.
"""

import re
import secrets
from pathlib import Path

from prefect.runtime import deployment

from pipeline.core.errors import ConfigError
from pipeline.core.storage import atomic_file
from pipeline.flows.environment import repository_root

_LONGEST = 24


def repository_name(root: Path) -> str:
    """Return the name of a repository, making it at the first call."""
    root = root.resolve()
    known = _read(root)
    if known is not None:
        name, home = known
        if home == root or _is_same_file(_path(home), _path(root)):  # also where it is mounted under several paths
            return name
        if _read(home) != known:  # moved: nothing of it lies where it was
            return _write(root, name)
    readable = re.sub("[^a-z0-9]+", "-", root.name.lower()).strip("-")[:_LONGEST] or "repository"
    return _write(root, f"{readable}-{secrets.token_hex(4)}")


def deployment_name(root: Path, experiment: str) -> str:
    """Return what the deployments of an experiment are called."""
    return f"{experiment}@{repository_name(root)}"


def own_root() -> Path:
    """Return the root, after checking that the flow run which asks was meant for this repository.

    Raises:
        ConfigError: its deployment is that of another repository.
    """
    root = repository_root()
    name: str | None = deployment.name  # None where a flow is called directly
    expected = f"@{repository_name(root)}"
    if name is not None and not name.endswith(expected):
        raise ConfigError(
            f"a run in {root} must belong to a deployment named EXP{expected}, but that of this run is {name!r}; give "
            "every repository's worker a work pool of its own, and deploy again"
        )
    return root


def _path(root: Path) -> Path:
    return root / ".work" / "repository"


def _read(root: Path) -> tuple[str, Path] | None:
    try:
        name, home = _path(root).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    return (name, Path(home)) if re.fullmatch("[a-z0-9-]+", name) else None


def _is_same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _write(root: Path, name: str) -> str:
    with atomic_file(_path(root)) as temporary:
        temporary.write_text(f"{name}\n{root}\n", encoding="utf-8")
    return name


if __name__ == "__main__":
    print(repository_name(repository_root()))
