"""``facets paper``."""

from typing import Annotated

import typer

from pipeline.cli._shared import AsJson, find_root, show

_Experiments = Annotated[
    list[str], typer.Argument(metavar="EXP…", help="Experiments whose stages have run.", show_default=False)
]


def paper(experiments: _Experiments, as_json: AsJson = False) -> None:
    """Make the paper's tables and figures from trained experiments.

    Writes the folder paper/ anew: tables as CSV, with the published numbers of other methods marked as reported, all
    numbers as JSON, pictures and charts in figures/. Takes minutes, most of them for the supervised probes.

    \b
    Example:
        facets paper digits scenes_fast
    """
    from pipeline.operations.paper import make_paper

    root = find_root()
    files = [str(path.relative_to(root)) for path in make_paper(root, experiments)]
    show("\n".join(files), {"files": files}, as_json)
