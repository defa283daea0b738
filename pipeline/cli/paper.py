"""``facets paper``."""

from typing import Annotated

import typer

from pipeline.cli._shared import AsJson, find_root, show

_Experiments = Annotated[
    list[str], typer.Argument(metavar="EXP…", help="Experiments whose stages have run.", show_default=False)
]


_Samples = Annotated[
    int | None,
    typer.Option("--samples", min=4, help="Generated images of table 7; as many as in the paper, 60,000, by default."),
]


def paper(experiments: _Experiments, samples: _Samples = None, as_json: AsJson = False) -> None:
    """Make the paper's tables and figures from trained experiments.

    Writes the folder paper/ anew: tables as CSV, with the published numbers of other methods marked as reported, all
    numbers as JSON, pictures and charts in figures/. Takes minutes, most of them for the supervised probes.

    \b
    Example:
        facets paper digits_ladder digits_vade --samples 10000
    """
    from pipeline.operations.paper import make_paper

    root = find_root()
    files = [str(path.relative_to(root)) for path in make_paper(root, experiments, samples)]
    show("\n".join(files), {"files": files}, as_json)
