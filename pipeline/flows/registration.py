"""What a starting service tells the Prefect server: its deployments, as people left them, and what has ended."""

from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.responses import DeploymentResponse
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound

from pipeline.config import Params
from pipeline.flows.deployments import deployments_of, keep_what_people_set, no_longer_served
from pipeline.flows.lost import close_lost_runs

_ALERT_BLOCK = ("facets-alert", "webhook")


def register(
    root: Path, params: Params, add: Callable[[RunnerDeployment], UUID], is_own_server: bool
) -> dict[UUID, str | None]:
    """Register the deployments of all active experiments; call it before anything is executed.

    Pauses stay. Deployments of experiments that are not active any more are deleted with their schedules; runs stay.
    Runs that the last service left behind get their end.

    Args:
        root: of the repository.
        params: with the experiments.
        add: registers one deployment and returns its id.
        is_own_server: it is this repository's, though others may use it too.

    Returns:
        the deployments: id to the flow's entrypoint.
    """
    with get_client(sync_client=True) as client:
        new: list[tuple[UUID, RunnerDeployment]] = []
        ids: dict[UUID, str | None] = {}
        for deployment in deployments_of(params, root):
            is_known = keep_what_people_set(client, deployment) is not None
            deployment_id = add(deployment)
            ids[deployment_id] = deployment.entrypoint
            if not is_known:
                new.append((deployment_id, deployment))
        left_over = no_longer_served(client, root, ids, is_own_server)
        close_lost_runs(client, {*ids, *(each.id for each in left_over)})
        for deployment_id, deployment in new:
            _take_over_pauses(client, deployment_id, deployment, left_over)
        for each in left_over:
            client.delete_deployment(each.id)
        if is_own_server:
            _forget_alert_address(client)
    return ids


def _forget_alert_address(client: SyncPrefectClient) -> None:
    """Delete what earlier releases kept on the server, where every reader of blocks can read it."""
    with suppress(ObjectNotFound):
        client.delete_block_document(client.read_block_document_by_name(*_ALERT_BLOCK).id)


def _take_over_pauses(
    client: SyncPrefectClient, new_id: UUID, new: RunnerDeployment, left_over: Collection[DeploymentResponse]
) -> None:
    """Pause what was paused under the name that it had in earlier releases."""
    experiment = new.name.partition("@")[0]
    for each in left_over:
        if each.entrypoint == new.entrypoint and each.name == experiment:
            if each.paused:
                client.pause_deployment(new_id)
            if each.schedules and not any(schedule.active for schedule in each.schedules):
                for schedule in client.read_deployment_schedules(new_id):
                    client.update_deployment_schedule(new_id, schedule.id, active=False)
