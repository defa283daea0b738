"""Putting the commands together, and what happens to their errors."""

import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import FrameType
from typing import Annotated, NoReturn

import typer

from pipeline.cli._streams import discard, prepare_streams
from pipeline.core.errors import PipelineError, ResourceError
from pipeline.core.extras import as_missing_extra
from pipeline.core.memory import as_out_of_memory
from pipeline.core.storage import as_resource_error

_HELP = """Several clusterings of the same images, as tables.

\b
Start:     facets init shop
Yours:     facets new birds ~/pictures/birds
Look:      facets status
Ask:       facets query digits "select cluster_uid, count(*) from facet_1 group by 1"
"""

_EPILOG = """\b
Exit codes:
  0 done                                 4 a model cannot be trained or loaded
  1 unexpected, with a traceback         5 not publishable, or tables are not right
  2 a wrong parameter or argument        6 another process holds a lock
  3 missing or damaged data              7 disk, permission, program, repository
"""


def _build() -> typer.Typer:
    commands = typer.Typer(
        name="facets",
        help=_HELP,
        epilog=_EPILOG,
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # plain text: loads fast, and a message stays one line
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    commands.callback()(_facets)
    names = sorted(module.name for module in iter_modules(import_module("pipeline.cli").__path__))
    for name in names:
        if not name.startswith("_"):
            commands.command(name)(getattr(import_module(f"pipeline.cli.{name}"), name))
    return commands


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"facet-pipeline {version('facet-pipeline')}")
        raise typer.Exit


def _facets(
    version: Annotated[
        bool, typer.Option("--version", help="Show the release and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    pass  # a callback keeps the name of the command in the usage even if there were only one


app = _build()


def main() -> NoReturn:
    """Run the command line; a deliberate error is one line on standard error and its exit code."""
    prepare_streams()
    signal.signal(signal.SIGTERM, _exit_cleanly)
    warnings.showwarning = _show_warning
    try:
        code = _run()
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has had enough, as head has. No handler of the system's for this: children are to be
        # ended first. What is still to be written has nowhere to go, and the interpreter would complain at its end.
        code = 128 + signal.SIGPIPE
        discard(sys.stdout.fileno(), sys.stderr.fileno())
    except ResourceError as error:
        code = _say(error)
    sys.exit(code)


def _run() -> int:
    try:
        # A disk may run full wherever something is written, and memory anywhere.
        with as_out_of_memory("this command"), as_resource_error(Path.cwd()), _as_unreadable(), as_missing_extra():
            app(prog_name="facets")
    except PipelineError as error:
        return _say(error)
    except SystemExit as end:  # typer makes one of what else ends a command
        if isinstance(end.__context__, BrokenPipeError):
            raise end.__context__ from None
        if end.code == 128 + signal.SIGINT:
            print("facets: interrupted; nothing is half-written, run it again to go on", file=sys.stderr, flush=True)
        return int(end.code or 0)
    return 0


@contextmanager
def _as_unreadable() -> Iterator[None]:
    """Name a file that may not be read: what is met on the way out says of all else that it cannot be written."""
    try:
        yield
    except PermissionError as error:
        name = error.filename
        if not isinstance(name, str) or not Path(name).exists() or os.access(name, os.R_OK):
            raise
        raise ResourceError(
            f"{name} must be readable, but: {error.strerror}; mend access to it and run again"
        ) from error


def _say(error: PipelineError) -> int:
    print(f"facets: {error}", file=sys.stderr, flush=True)
    return error.exit_code


def _show_warning(message: Warning | str, *_: object, **_more: object) -> None:
    print(f"facets: warning: {message}", file=sys.stderr, flush=True)  # without the line of code that Python adds


def _exit_cleanly(_signal: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(128 + signal.SIGTERM)  # as an exception, so that child processes are ended and temporary files removed
