"""Flow ``ingest``: one delivery of the inbox becomes rows, then moves to ``done/`` or ``rejected/``."""

from typing import Any

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from pipeline.errors import BusyError, DataError, ResourceError
from pipeline.flows.commands import LineLog, run_facets
from pipeline.flows.environment import repository_root, start_flow
from pipeline.layout import Layout
from pipeline.operations.inbox import finish_delivery, require_delivery


def _may_pass(_task: Any, _run: Any, state: State) -> bool:
    return isinstance(state.result(raise_on_failure=False), BusyError | ResourceError)


@task(cache_policy=NO_CACHE, persist_result=False, retries=3, retry_delay_seconds=20, retry_condition_fn=_may_pass)
def read_delivery(experiment: str, delivery: str) -> dict[str, Any]:
    """Add the images of a delivery to the tables."""
    root = repository_root()
    path = require_delivery(Layout(root, experiment), delivery)
    return run_facets(root, ["ingest", experiment, str(path)], LineLog(root, f"{experiment}-ingest"))


@flow(name="ingest", flow_run_name="ingest {experiment} {delivery}", persist_result=False)
def ingest(experiment: str, delivery: str) -> State:
    """Take one delivery in.

    Args:
        experiment: its name.
        delivery: name of a folder or file in its inbox.
    """
    layout = Layout(start_flow(), experiment)
    if not (layout.inbox / delivery).exists():
        return Completed(message="read already")
    try:
        result = read_delivery(experiment, delivery)
    except DataError as error:
        target = finish_delivery(layout, layout.inbox / delivery, [str(error)])
        return Completed(message=f"rejected, see {target.name}.reason.txt")
    finish_delivery(layout, layout.inbox / delivery)
    refused = [{"file": file, "reason": reason} for file, reason in result["quarantined"]]
    if refused:
        create_table_artifact(key=f"quarantine-{experiment.replace('_', '-')}", table=refused, description=delivery)
    return Completed(
        message=f"{result['n_images']} new images, {result['duplicates']} duplicates, {len(refused)} quarantined, "
        f"version {result['version']}"
    )
