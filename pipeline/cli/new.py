"""``facets new``."""

from typing import Annotated

import typer

from pipeline.cli._shared import AsJson, absolute, find_root, show

_Name = Annotated[str, typer.Argument(metavar="EXP", help="Name of the new experiment.", show_default=False)]
_Location = Annotated[
    str,
    typer.Argument(metavar="PATH", help="Folder or file of images; a path or a URL.", show_default=False),
]
_NoTrial = Annotated[bool, typer.Option("--no-trial", help="Propose a usual setting at once, comparing none.")]


def new(experiment: _Name, path: _Location, no_trial: _NoTrial = False, as_json: AsJson = False) -> None:
    """Propose an experiment for your own images.

    Looks at some of them, compares numbers of clusters, or tries for up to three minutes which settings train where
    images are nearly black and white, appends a section to params.yaml with a reason for each choice, adds the
    experiment to the list active there, and draws a contact sheet.

    \b
    Example:
        facets new birds ~/pictures/birds
    """
    from pipeline.operations.new import add_experiment

    found = add_experiment(find_root(), experiment, absolute(path), with_trials=not no_trial)
    lines = [
        found.text.rstrip(),
        "",
        *(f"note    {note}" for note in found.notes),
        f"active  {', '.join(found.active)}: params.yaml has {experiment} in this list, of what facets serve runs",
        f"look    {found.contact_sheet}",
        f"next    facets rebuild {experiment}",
    ]
    value = {
        "section": found.text,
        "contact_sheet": str(found.contact_sheet),
        "notes": found.notes,
        "active": found.active,
        "seconds": found.seconds,
    }
    show("\n".join(lines), value, as_json)
