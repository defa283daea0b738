"""The command ``facets``: one module a command, thin over :mod:`pipeline.operations`.

To add a command, add ``pipeline/cli/<command>.py`` with a function ``<command>``. Its docstring is the help and shows
an example. Import at the top only what is light (typer, ``pipeline.cli._shared``, errors), the rest inside the
function: ``facets --help`` imports every command. Modules with a leading underscore are no commands.
"""

from pipeline.cli._app import app as app
from pipeline.cli._app import main as main
