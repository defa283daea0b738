"""``facets name``."""

from typing import Annotated

import typer

from pipeline.cli._shared import AsJson, ExperimentName, open_experiment, show

_Uid = Annotated[
    str, typer.Argument(metavar="UID", help="Of a cluster, as f1-c004, or of a group, as f1-g002.", show_default=False)
]
_Name = Annotated[
    str, typer.Argument(metavar="NAME", help='What people shall call it; "" takes the name away.', show_default=False)
]
_Note = Annotated[str, typer.Option("--note", help="A remark that the page shows with the name.")]


def name(experiment: ExperimentName, uid: _Uid, new_name: _Name, note: _Note = "", as_json: AsJson = False) -> None:
    """Give a cluster or a group a name that people understand.

    Tables and page show it from now on, also after retrainings in which it keeps its uid. Names lie in
    names/EXP.csv, which belongs under version control.

    \b
    Example:
        facets name digits f1-c004 "fours, open on top"
    """
    from pipeline.operations.name import name_cluster

    layout, _ = open_experiment(experiment)
    name_cluster(layout, uid, new_name, note)
    text = f"{experiment}: {uid} is called {new_name}" if new_name else f"{experiment}: {uid} has no name any more"
    show(text, {"uid": uid, "name": new_name, "note": note}, as_json)
