"""``facets drop``."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli._shared import AsJson, ExperimentName, find_root, show

if TYPE_CHECKING:
    from pipeline.operations.drop import DropPlan

_Yes = Annotated[bool, typer.Option("--yes", help="Delete it; otherwise only say what would be deleted.")]


def drop(experiment: ExperimentName, yes: _Yes = False, as_json: AsJson = False) -> None:
    """Delete an experiment: its section in params.yaml, and everything that was made for it.

    Without --yes it says what that is, and how large, and deletes nothing. The images that it was made from stay, and
    so does what experiments share. Published tables and ingested batches cannot be made again: where in doubt, copy
    them first. After a drop that was cut off, the same call completes it.

    \b
    Example:
        facets drop birds
        facets drop birds --yes
    """
    from pipeline.operations.drop import drop, plan_drop

    plan = drop(find_root(), experiment) if yes else plan_drop(find_root(), experiment)
    show(_describe(plan, is_done=yes), {"deleted": yes, **asdict(plan)}, as_json)


def _describe(plan: "DropPlan", *, is_done: bool) -> str:
    from pipeline.cli._table import table_text

    total = sum(part.n_bytes for part in plan.parts)
    rows = [[part.path, part.holds, _size(part.n_bytes) if part.n_bytes else None] for part in plan.parts]
    lines = [
        f"{plan.experiment}: {'deleted' if is_done else 'would be deleted'}, {_size(total)}",
        table_text(["what", "holds", "size"], [False, False, True], rows),
        "",
        *(f"stays   {line}" for line in plan.stays),
    ]
    if is_done:
        lines.append("next    git status shows what of it was committed once; commit that it went")
    else:
        lines.append(
            f"next    nothing is deleted yet; facets drop {plan.experiment} --yes does it, and nothing undoes it"
        )
    return "\n".join(lines)


def _size(n_bytes: int) -> str:
    for unit, size in (("MiB", 2**20), ("KiB", 2**10)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes} bytes"
