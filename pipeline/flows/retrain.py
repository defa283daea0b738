"""Flow ``retrain``: the policy decides whether new batches join the training, and says why."""

from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from pipeline.flows.commands import LineLog, run_facets
from pipeline.flows.environment import repository_root
from pipeline.flows.outcome import HOOKS
from pipeline.flows.repository import own_root


@task(cache_policy=NO_CACHE, persist_result=False)
def ask_policy(experiment: str) -> dict[str, Any]:
    """Return what ``facets retrain --dry-run`` says."""
    root = repository_root()
    return run_facets(root, ["retrain", experiment, "--dry-run"], LineLog(root, f"{experiment}-policy"))


@task(cache_policy=NO_CACHE, persist_result=False)
def train_anew(experiment: str) -> dict[str, Any]:
    """Let the batches join, rebuild and publish."""
    root = repository_root()
    return run_facets(root, ["retrain", experiment, "--wait", "86400"], LineLog(root, f"{experiment}-retrain"))


@flow(name="retrain", flow_run_name="retrain {experiment}", persist_result=False, **HOOKS)
def retrain(experiment: str) -> State:
    """Train anew if the policy asks for it.

    Args:
        experiment: its name.
    """
    own_root()
    plan = ask_policy(experiment)
    lines = [f"- {line}" for line in plan["reasons"] or plan["facts"]]
    decision = "A retraining is due" if plan["reasons"] else "No retraining is due"
    create_markdown_artifact(
        key=f"retrain-{experiment.replace('_', '-')}", markdown="\n".join([f"**{decision}**", "", *lines])
    )
    if not plan["reasons"]:
        return Completed(message=f"not due: {', '.join(plan['facts'])}")
    result = train_anew(experiment)
    return Completed(message=f"version {result['rebuild']['version']}, because {', '.join(plan['reasons'])}")
