"""Flow ``ingest``: one delivery of the inbox becomes rows, then moves to ``done/`` or ``rejected/``."""

from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from pipeline.errors import BusyError, DataError, ResourceError
from pipeline.flows.artifacts import show_batch
from pipeline.flows.commands import LineLog, run_facets
from pipeline.flows.environment import repository_root
from pipeline.layout import Layout
from pipeline.operations.inbox import finish_delivery, require_delivery

_READ = "read already, by another run"


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
    layout = Layout(repository_root(), experiment)
    path = layout.inbox / delivery
    if not path.exists():
        return Completed(message=_READ)
    try:
        result = read_delivery(experiment, delivery)
    except DataError as error:
        if not path.exists():
            return Completed(message=_READ)
        target = finish_delivery(layout, path, [str(error)])
        return Completed(message=f"rejected, see {target.name}.reason.txt")
    finish_delivery(layout, path)
    show_batch(layout, delivery, result)
    counts = f"{result['n_images']} new images, {result['duplicates']} duplicates"
    return Completed(message=f"{counts}, {len(result['quarantined'])} quarantined, version {result['version']}")
