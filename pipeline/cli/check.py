"""``facets check``."""

from typing import Annotated

import typer

from pipeline.cli._shared import AsJson, find_root, show

_Experiments = Annotated[
    list[str] | None,
    typer.Argument(metavar="EXP", help="Experiments; all that have published if none is named.", show_default=False),
]


def check(experiments: _Experiments = None, as_json: AsJson = False) -> None:
    """Check parameters and published tables.

    Reads params.yaml and every published file, and lists what is wrong. Ends with exit code 5 where tables are not
    right.

    \b
    Example:
        facets check
    """
    from pipeline.operations.check import check_experiments

    problems = check_experiments(find_root(), experiments)
    lines = [f"{name}: {problem}" for name, found in problems.items() for problem in found or ["all is well"]]
    show("\n".join(["params.yaml: all is well", *lines]), problems, as_json)
    if any(problems.values()):
        raise typer.Exit(5)
