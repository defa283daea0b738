"""``facets retrain``."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli._shared import AsJson, ExperimentName, WaitSeconds, find_root, open_experiment, show, to_stderr
from pipeline.core.text import counted

if TYPE_CHECKING:
    from pipeline.operations.retrain import RetrainPlan

_DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say whether it is due, and why.")]
_Force = Annotated[bool, typer.Option("--force", help="Do it with whatever waits, whatever the policy says.")]


def retrain(
    experiment: ExperimentName,
    dry_run: _DryRun = False,
    force: _Force = False,
    wait: WaitSeconds = 600.0,
    as_json: AsJson = False,
) -> None:
    """Train anew with the batches that came in, if the policy in params.yaml says so (schedule.retrain_…).

    It does when enough new images wait, or enough drifted batches, or new images while the model is old. The batches
    then join the training set for good, and the model is rebuilt from scratch and published if it is healthy.

    \b
    Example:
        facets retrain digits --dry-run
    """
    from pipeline.operations.retrain import plan_retrain, retrain

    layout, params = open_experiment(experiment)
    if dry_run:
        plan = plan_retrain(layout, params.schedule, force=force)
        show(_describe(plan), asdict(plan), as_json)
        return
    result = retrain(find_root(), experiment, force=force, wait_seconds=wait, on_line=to_stderr)
    text = _describe(result.plan)
    if result.rebuild is not None:
        text += f"\n{experiment}: version {result.rebuild.version} of model {result.rebuild.model_version} published"
        text += "" if result.rebuild.account is None else f"\nimages  {result.rebuild.account.text}"
    show(text, asdict(result), as_json)


def _describe(plan: "RetrainPlan") -> str:
    if plan.reasons:
        lines = [f"{plan.experiment}: a retraining is due with {counted(len(plan.joining), 'more batch')}"]
        lines += [f"  because {reason}" for reason in plan.reasons]
    else:
        lines = [f"{plan.experiment}: no retraining is due; {counted(len(plan.waiting), 'batch')} waiting"]
        lines += [f"  {fact}" for fact in plan.facts]
    return "\n".join(lines)
