"""``facets check``."""

from dataclasses import asdict
from typing import Annotated

import typer

from pipeline.cli._shared import AsJson, WaitSeconds, find_root, show

_Experiments = Annotated[
    list[str] | None,
    typer.Argument(metavar="EXP", help="Experiments; all that have published if none is named.", show_default=False),
]
_Deep = Annotated[
    bool, typer.Option("--deep", help="Every byte that is kept: old versions, models, batches, page, outputs too.")
]
_Repair = Annotated[bool, typer.Option("--repair", help="Mend what has a copy or can be computed again.")]


def check(
    experiments: _Experiments = None,
    deep: _Deep = False,
    repair: _Repair = False,
    wait: WaitSeconds = 0.0,
    as_json: AsJson = False,
) -> None:
    """Check parameters and published tables, and repair damage.

    Reads params.yaml and every file of the current version, and lists what is wrong. Ends with exit code 5 where
    something is (or, with --repair, still is); a stage that a rebuild has yet to finish is named, but is no damage.
    --repair looks as deep as --deep.

    \b
    Example:
        facets check
        facets check digits --deep
        facets check digits --repair
    """
    from pipeline.operations.check import check_experiments

    results = check_experiments(find_root(), experiments, deep=deep, mend=repair, wait_seconds=wait)
    lines = ["params.yaml: all is well"]
    for name, found in results.items():
        lines += [f"{name}: mended; found before: {problem}" for problem in found.mended]
        lines += [f"{name}: {line}" for line in (*found.problems, *found.waiting) or ["all is well"]]
    value = {name: asdict(found) if repair else found.problems for name, found in results.items()}
    show("\n".join(lines), value, as_json)
    if any(found.problems for found in results.values()):
        raise typer.Exit(5)
