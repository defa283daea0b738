"""What a Prefect server says of this repository's schedules: when each ran last and runs next, and what is late."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import PREFECT_API_REQUEST_TIMEOUT, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from pipeline.config.when import interval_text
from pipeline.flows.missed import SKIPPED

_LEAST_LATE = timedelta(minutes=5)
_PERIODS = 2


@dataclass(frozen=True)
class ScheduleState:
    """One scheduled flow of one experiment.

    Attributes:
        flow: its name.
        experiment: its experiment.
        when: the cron expression with its time zone, or the interval.
        is_paused: somebody paused the deployment or its schedule.
        last: when the last run started and how it ended or stands; None before the first.
        next: when the next run is due; None where none is planned.
        fault: what is wrong, else empty.
    """

    flow: str
    experiment: str
    when: str
    is_paused: bool
    last: dict[str, str] | None
    next: str | None
    fault: str


@contextmanager
def impatient_client(seconds: float) -> Iterator[SyncPrefectClient]:
    """Yield a client that gives up soon, for those who only want to look.

    It asks again twice: a server whose database is locked for a moment answers "service unavailable".
    """
    settings: dict[Any, Any] = {PREFECT_CLIENT_MAX_RETRIES: 2, PREFECT_API_REQUEST_TIMEOUT: seconds}
    with temporary_settings(settings), get_client(sync_client=True) as client:
        yield client


def schedule_states(client: SyncPrefectClient, repository: str) -> list[ScheduleState]:
    """Return the state of every schedule of a repository, by experiment and flow.

    Raises:
        httpx.HTTPError: the server does not answer.
    """
    ours = DeploymentFilter.model_validate({"name": {"like_": f"@{repository}"}})
    found = [
        _state(client, each) for each in client.read_deployments(deployment_filter=ours, limit=200) if each.schedules
    ]
    return sorted(found, key=lambda state: (state.experiment, state.flow))


def _state(client: SyncPrefectClient, deployment: DeploymentResponse) -> ScheduleState:
    now = datetime.now(UTC)
    waiting = {"state": {"type": {"any_": ["SCHEDULED"]}}, "start_time": {"is_null_": True}}
    soonest = FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC
    begun = {"start_time": {"is_null_": False}, "state": {"name": {"not_any_": [SKIPPED]}}}
    last = _runs(client, deployment, begun, FlowRunSort.START_TIME_DESC, 1)
    due = _times(_runs(client, deployment, {**waiting, "next_scheduled_start_time": {"before_": now}}, soonest, 1))
    coming = _times(_runs(client, deployment, {**waiting, "next_scheduled_start_time": {"after_": now}}, soonest, 2))
    is_paused = deployment.paused or not any(schedule.active for schedule in deployment.schedules)
    return ScheduleState(
        flow=(deployment.entrypoint or "").rpartition(".")[2],
        experiment=deployment.name.rpartition("@")[0],
        when=", ".join(_when(schedule.schedule) for schedule in deployment.schedules),
        is_paused=is_paused,
        last={"started": _text(last[0].start_time), "state": last[0].state_name or ""} if last else None,
        next=_text(coming[0]) if coming else None,
        fault="" if is_paused else _fault(deployment, due, coming, now),
    )


def _fault(deployment: DeploymentResponse, due: list[datetime], coming: list[datetime], now: datetime) -> str:
    """Tell of a run that waits since two periods, or of a schedule for which the server plans none."""
    changed = max(filter(None, [deployment.updated, *(schedule.updated for schedule in deployment.schedules)]))
    if not coming:
        quiet = now - changed > _LEAST_LATE
        return "no run is planned: the server's scheduler does not work" if quiet else ""
    period = coming[-1] - coming[0]
    if due and now - due[0] > max(_PERIODS * period, _LEAST_LATE):
        return f"the run that was due at {_text(due[0])} has not started: nobody executes runs"
    return ""


def _runs(
    client: SyncPrefectClient, deployment: DeploymentResponse, of: dict[str, Any], sort: FlowRunSort, most: int
) -> list[FlowRun]:
    return client.read_flow_runs(
        deployment_filter=DeploymentFilter.model_validate({"id": {"any_": [deployment.id]}}),
        flow_run_filter=FlowRunFilter.model_validate(of),
        sort=sort,
        limit=most,
    )


def _times(runs: list[FlowRun]) -> list[datetime]:
    return [run.next_scheduled_start_time for run in runs if run.next_scheduled_start_time is not None]


def _when(schedule: Any) -> str:
    interval = getattr(schedule, "interval", None)
    if interval is not None:  # the same in every time zone
        return interval_text(interval)
    what = getattr(schedule, "cron", None) or getattr(schedule, "rrule", "?")
    return f"{what} {schedule.timezone or ''}".strip()


def _text(time: datetime | None) -> str:
    return "" if time is None else time.astimezone().isoformat(" ", "seconds")
