"""A project of one's own: a folder with what ``facets`` and DVC need, and none of the library."""

import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from pipeline.config.stage_code import CODE_FILE, DAG_FILE, RELEASE_FILES, code_text, project_dag
from pipeline.config.write import with_one_experiment
from pipeline.core.errors import ConfigError, ResourceError
from pipeline.core.storage import atomic_file

EXAMPLE = "digits"
"""The experiment that a new project has: its images come with a package, and it trains in minutes."""

_HEAD = f"""\
# The experiments of this project. facets new NAME PATH adds one for images of your own; facets rebuild runs those that
# are active, and facets drop {EXAMPLE} --yes takes this example away.
"""


@dataclass(frozen=True)
class NewProject:
    """What ``facets init`` made.

    Attributes:
        root: the project.
        written: files that were not there, relative to it.
        kept: files that were there and stay as they are; ``.gitignore`` among them got lines more.
        has_git: whether git keeps the project; DVC works without, but for comparing with earlier commits.
    """

    root: Path
    written: list[str]
    kept: list[str]
    has_git: bool


def init_project(folder: Path) -> NewProject:
    """Make a folder a project; what is in it stays as it is.

    Args:
        folder: made where it does not exist.

    Raises:
        ConfigError: it is a project or the repository already.
        ResourceError: it cannot be written, or git fails.
    """
    root = folder.absolute()
    taken = next((name for name in ("params.yaml", DAG_FILE) if (root / name).exists()), None)
    if taken is not None:
        raise ConfigError(
            f"a new project needs a folder without {taken}, got {root}; give another one, or run facets upgrade in it"
        )
    root.mkdir(parents=True, exist_ok=True)
    has_git = _start_git(root)
    files = {**release_files(), **_files_of_people(), ".dvc/config": _dvc_config(has_git)}
    files["params.yaml"] = files.pop("params.yaml")  # last: with it the folder is a project
    kept = [name for name in files if (root / name).exists()]
    for name in (written := [name for name in files if name not in kept]):
        _write(root / name, files[name])
    if ".gitignore" in kept:
        _add_lines(root / ".gitignore", files[".gitignore"])
    return NewProject(root, written, kept, has_git)


def release_files() -> dict[str, str]:
    """Return what a release replaces: the DAG, how its stages start, what they run, how DVC draws their plots."""
    plots = {f".dvc/plots/{path.name}": path for path in sorted((RELEASE_FILES / "plots").glob("*.json"))}
    run = {"stages/run": RELEASE_FILES.parent / "stages" / "run"}
    texts = {name: path.read_text(encoding="utf-8") for name, path in {**run, **plots}.items()}
    return {DAG_FILE: project_dag(), CODE_FILE: code_text(), **texts}


def _files_of_people() -> dict[str, str]:
    def shipped(name: str) -> str:
        return (RELEASE_FILES / name).read_text(encoding="utf-8")

    return {
        "params.yaml": _HEAD + with_one_experiment(shipped("params.yaml"), EXAMPLE),
        "README.md": shipped("README.md"),
        ".gitignore": shipped("gitignore"),
        ".dvcignore": shipped("dvcignore"),
        ".dvc/.gitignore": shipped("dvc_gitignore"),
        ".github/workflows/facets.yaml": shipped("ci.yaml").replace("VERSION", version("facet-pipeline")),
    }


def _dvc_config(has_git: bool) -> str:
    text = (RELEASE_FILES / "dvc_config").read_text(encoding="utf-8")
    return text if has_git else text.replace("[core]\n", "[core]\n    no_scm = true\n")


def _start_git(root: Path) -> bool:
    """Put a folder under git where there is git and it is not yet; return whether it then is."""
    if any((folder / ".git").exists() for folder in (root, *root.parents)):
        return True
    if shutil.which("git") is None:
        return False
    done = subprocess.run(["git", "init", "--quiet"], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ResourceError(f"git init must succeed in {root}, but: {done.stderr.strip()}; mend that and run again")
    return True


def _add_lines(path: Path, text: str) -> None:
    found = path.read_text(encoding="utf-8", errors="surrogateescape")
    more = [line for line in text.splitlines() if line not in found.splitlines()]
    if more:
        joined = "\n".join([found.rstrip("\n"), *more, ""])
        with atomic_file(path) as temporary:
            temporary.write_text(joined, encoding="utf-8", errors="surrogateescape")


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
