"""``facets upgrade``."""

from dataclasses import asdict
from typing import Annotated

import typer

from pipeline.cli._shared import AsJson, find_root, show

_Yes = Annotated[bool, typer.Option("--yes", help="Write it; otherwise only show the difference.")]


def upgrade(yes: _Yes = False, as_json: AsJson = False) -> None:
    """Bring a project's files to the installed release.

    Shows the difference; with --yes it is written. params.yaml gets the keys of this release and names presets, its
    comments stay, and no experiment becomes another one. What earlier releases published stays readable as it is.

    \b
    Example:
        facets upgrade
        facets upgrade --yes
    """
    from pipeline.operations.upgrade import plan_upgrade, write_changes

    root = find_root()
    changes = plan_upgrade(root)
    if yes:
        write_changes(root, changes)
    lines = [change.difference for change in changes]
    if not changes:
        lines.append("nothing to do: all files are as this release writes them")
    elif yes:
        lines.append(f"written  {', '.join(change.path for change in changes)}")
    else:
        lines.append("next     nothing is written yet; facets upgrade --yes does it")
    show("\n".join(lines), {"written": yes and bool(changes), "files": [asdict(each) for each in changes]}, as_json)
