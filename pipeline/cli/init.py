"""``facets init``."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli._shared import AsJson, show

_Folder = Annotated[Path, typer.Argument(metavar="[DIR]", help="Folder of the project, made where it does not exist.")]


def init(folder: _Folder = Path(), as_json: AsJson = False) -> None:
    """Make a folder a project of your own.

    Writes params.yaml with an example experiment, dvc.yaml, what DVC and git need, a README and an example for CI. What
    is in the folder stays as it is. git init begins a repository where none holds the folder yet; where git is missing,
    the project does without.

    \b
    Example:
        facets init shop
    """
    from pipeline.operations.project import EXAMPLE, init_project

    made = init_project(folder)
    lines = [
        f"project {made.root}",
        f"wrote   {', '.join(made.written)}",
        *([f"kept    {', '.join(made.kept)}: yours, as they were"] if made.kept else []),
        _GIT if made.has_git else _NO_GIT,
        f"next    {'' if folder == Path() else f'cd {folder} && '}facets new birds ~/pictures/birds",
        f"        (or the example, handwritten digits: facets rebuild {EXAMPLE})",
    ]
    show("\n".join(lines), {**asdict(made), "root": str(made.root)}, as_json)


_GIT = "git     keeps the project, by git init if it did not: commit what is written, as dvc exp run asks for a commit"
_NO_GIT = (
    "git     is not here, so nothing keeps earlier states of the project; once it is: git init, and take no_scm out of "
    ".dvc/config"
)
