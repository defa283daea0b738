"""Where the result of a query may be written: anywhere but among what the project or the installation consists of."""

import os
import sys
from pathlib import Path

from pipeline.core.errors import ConfigError
from pipeline.core.git import ask_git

_LIBRARY = Path(__file__).parents[1]
_PROJECT = "params.yaml"  # in the root of every project
_OURS = (
    *("artifacts", "ask", "data", "dvc_plots", "hints", "names", "paper", "published"),  # what commands write
    *("benchmarks", "bin", "deploy", "docs", "pipeline", "stages", "tests"),  # what a repository holds
)
"""Folders of a project that are no place for other files; so are all whose names begin with a dot."""


def require_free_place(output: Path) -> None:
    """Keep an export from replacing what a project, this one or another, or the installation needs.

    Links are followed, but for the file itself, which an export replaces: what it is and what it leads to both count.

    Raises:
        ConfigError: it would.
    """
    parent, name = Path(os.path.realpath(output.parent)), output.name
    for place in (parent / name, Path(os.path.realpath(output))):
        for folder in (_LIBRARY, Path(sys.prefix)):
            if place.is_relative_to(os.path.realpath(folder)):
                raise _not_in(folder.name, output)
        for root in place.parents:
            if (root / _PROJECT).is_file():
                first, *below = place.relative_to(root).parts
                if below and (first.startswith(".") or first.lower() in _OURS):  # some file systems ignore case
                    raise _not_in(first, output)
                _require_untracked(root, place, output)


def _require_untracked(root: Path, place: Path, output: Path) -> None:
    if ask_git(root, "--literal-pathspecs", "ls-files", "--error-unmatch", "--", str(place)) is not None:
        raise ConfigError(f"an export must not replace a file that git tracks, got {output}; take another name")


def _not_in(folder: str, output: Path) -> ConfigError:
    return ConfigError(
        f"an export must not lie in {folder}/, where the project keeps its own, got {output}; "
        "write it to the current folder or to one of your own"
    )
