"""Arguments and output that commands have in common."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.core.errors import ConfigError
from pipeline.core.layout import Layout
from pipeline.core.text import printable, printable_lines, to_json

if TYPE_CHECKING:
    from pipeline.config.sections import Experiment as ExperimentParams

ExperimentName = Annotated[str, typer.Argument(metavar="EXP", help="Experiment of params.yaml.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value, for machines.")]
WaitSeconds = Annotated[
    float, typer.Option("--wait", min=0, help="Seconds to wait for another process that holds the lock.")
]


def find_root() -> Path:
    """Return the nearest folder upwards from the current one that holds ``params.yaml``.

    Raises:
        ConfigError: there is none.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "params.yaml").is_file():
            return folder
    raise ConfigError(
        f"this must run inside a project with a params.yaml, got {here}; change into one, or make one by facets init"
    )


def open_experiment(name: str) -> tuple[Layout, "ExperimentParams"]:
    """Return paths and checked parameters of one experiment.

    Raises:
        ConfigError: params.yaml breaks a rule or does not have the experiment.
    """
    from pipeline.config import load_params

    root = find_root()
    return Layout(root, name), load_params(root).experiment(name)


def own_name() -> str:
    """Return how a person calls this program here: by its name alone, where that finds it."""
    own = Path(sys.executable).with_name("facets")
    if shutil.which("facets") == str(own):
        return "facets"
    return str(own.relative_to(Path.cwd()) if own.is_relative_to(Path.cwd()) else own)


def absolute(location: str) -> str:
    """Return a path as it is from everywhere, a URL as it is.

    Raises:
        ConfigError: it is empty, as a variable of the shell is that was never set.
    """
    if not location.strip():
        raise ConfigError("PATH must be a folder, a file or a URL, got an empty one; say where the images are")
    return location if "://" in location else str(Path(location).expanduser().absolute())


def show(text: str, value: Any, as_json: bool) -> None:
    """Print a result: ``text`` for people, without what a terminal would obey, ``value`` for machines, exactly."""
    print(to_json(value) if as_json else printable_lines(text))


def to_stderr(line: str) -> None:
    """Print what a running command says, away from the result."""
    print(printable(line), file=sys.stderr, flush=True)
