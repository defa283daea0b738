"""Flow ``tidy``: old versions, resume files, DVC's cache, and Prefect's own history."""

from datetime import UTC, datetime, timedelta
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterEndTime
from prefect.client.schemas.objects import State
from prefect.states import Completed

from pipeline.flows.commands import LineLog, run_facets
from pipeline.flows.environment import repository_root, start_flow

_HISTORY_DAYS = 90
_AT_ONCE = 200


@task(cache_policy=NO_CACHE, persist_result=False)
def make_room(experiment: str) -> dict[str, Any]:
    """Run ``facets tidy``."""
    root = repository_root()
    return run_facets(root, ["tidy", experiment, "--wait", "86400"], LineLog(root, f"{experiment}-tidy"))


@task(cache_policy=NO_CACHE, persist_result=False)
def forget_old_runs() -> int:
    """Delete flow runs that ended long ago from Prefect's database, and return how many."""
    ended = FlowRunFilterEndTime.model_validate({"before_": datetime.now(UTC) - timedelta(days=_HISTORY_DAYS)})
    n_deleted = 0
    with get_client(sync_client=True) as client:
        while runs := client.read_flow_runs(flow_run_filter=FlowRunFilter(end_time=ended), limit=_AT_ONCE):
            for run in runs:
                client.delete_flow_run(run.id)
            n_deleted += len(runs)
    return n_deleted


@flow(name="tidy", flow_run_name="tidy {experiment}", persist_result=False)
def tidy(experiment: str) -> State:
    """Make room.

    Args:
        experiment: its name.
    """
    start_flow()
    result = make_room(experiment)
    n_runs = forget_old_runs()
    return Completed(message=f"{result['freed_mebibytes']} MiB freed, {n_runs} old runs forgotten")
