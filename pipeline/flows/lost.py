"""Runs that Prefect believes to go on, although the service that ran them is gone."""

from collections.abc import Collection
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId, FlowRunFilter, FlowRunFilterState
from prefect.client.schemas.objects import StateType
from prefect.states import Cancelled, Crashed

from pipeline.flows.outcome import report_crash_of

_UNDER_WAY = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
_AT_ONCE = 200


def close_lost_runs(client: SyncPrefectClient, deployment_ids: Collection[UUID]) -> None:
    """End runs of these deployments that no service executes any more, and report those that crashed.

    Call it before anything is executed. A power cut leaves such runs; nothing else would ever end them.
    """
    of_state = FlowRunFilterState.model_validate({"type": {"any_": _UNDER_WAY}})
    of_deployment = DeploymentFilter(id=DeploymentFilterId(any_=list(deployment_ids)))
    while runs := client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=of_state), deployment_filter=of_deployment, limit=_AT_ONCE
    ):
        for run in runs:
            if run.state_type == StateType.CANCELLING:
                state = Cancelled(message="cancelled; the service that ran it went down")
            else:
                state = Crashed(message="the service went down; the next run goes on where this one stopped")
                report_crash_of(client.read_flow(run.flow_id).name, run, "the service went down")
            client.set_flow_run_state(run.id, state, force=True)
