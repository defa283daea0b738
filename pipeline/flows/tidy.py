"""Flow ``tidy``: old versions, resume files, DVC's cache. Prefect's server tidies its own history (environment.py)."""

from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from pipeline.core.text import counted
from pipeline.flows.commands import LineLog, run_facets
from pipeline.flows.environment import repository_root
from pipeline.flows.outcome import HOOKS
from pipeline.flows.repository import own_root


@task(cache_policy=NO_CACHE, persist_result=False)
def make_room(experiment: str) -> dict[str, Any]:
    """Run ``facets tidy``."""
    root = repository_root()
    return run_facets(root, ["tidy", experiment, "--wait", "86400"], LineLog(root, f"{experiment}-tidy"))


@flow(name="tidy", flow_run_name="tidy {experiment}", persist_result=False, **HOOKS)
def tidy(experiment: str) -> State:
    """Make room.

    Args:
        experiment: its name.
    """
    own_root()
    result = make_room(experiment)
    return Completed(
        message=f"{result['freed_mebibytes']} MiB freed, {counted(len(result['versions']), 'version')} deleted"
    )
