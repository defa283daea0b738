"""Which flows are served for which experiment, when they run, and how the server learns of it.

The schedules of params.yaml are kept under one slug, so that they can be changed one by one: what people paused stays
paused, and schedules that they added by hand stay as they are.
"""

from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import DeploymentFilter
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.flows import Flow
from prefect.types.entrypoint import EntrypointType

from pipeline.config import Params
from pipeline.config.when import interval_of
from pipeline.core.errors import ConfigError
from pipeline.flows.ingest import ingest
from pipeline.flows.rebuild import rebuild
from pipeline.flows.repository import deployment_name, repository_name
from pipeline.flows.retrain import retrain
from pipeline.flows.tidy import tidy

TAG = "facets"
SLUG = "params"
"""Slug of the schedules that params.yaml names."""

_ANCHOR = datetime(2020, 1, 1, tzinfo=UTC)
"""Intervals count from here, not from the start of the service: one that is restarted daily would never come due."""

_AT_ONCE = 200


def deployments_of(params: Params, root: Path) -> list[RunnerDeployment]:
    """Return the deployments of all active experiments, named ``<flow>/<experiment>@<repository>``.

    Raises:
        ConfigError: a cron expression names times that do not exist.
    """
    return [deployment for experiment in params.active for deployment in _of_experiment(params, experiment, root)]


def keep_what_people_set(client: SyncPrefectClient, deployment: RunnerDeployment) -> UUID | None:
    """Prepare a deployment to be registered again, and bring its schedule on the server up to date.

    Registered as it is, it would replace all schedules and end every pause.

    Returns:
        its id, or None where the server does not have it yet.
    """
    try:
        found = client.read_deployment_by_name(f"{deployment.flow_name}/{deployment.name}")
    except ObjectNotFound:
        return None
    wanted = deployment.schedules
    deployment.schedules = None
    # What is not set is not sent.
    deployment.model_fields_set.difference_update({"schedules", "paused"})
    change_schedule(client, found, wanted[0].schedule if wanted else None)
    return found.id


def change_schedule(
    client: SyncPrefectClient, found: DeploymentResponse, wanted: CronSchedule | IntervalSchedule | Any
) -> bool:
    """Give a deployment of the server another schedule, paused if the one before is; return whether it is another."""
    ours = [schedule for schedule in found.schedules if schedule.slug == SLUG]
    if wanted is None:
        for schedule in ours:
            client.delete_deployment_schedule(found.id, schedule.id)
        return bool(ours)
    if not ours:
        client.create_deployment_schedules(found.id, [_entry(wanted)])
    elif ours[0].schedule != wanted:
        client.update_deployment_schedule(found.id, ours[0].id, schedule=wanted)
    else:
        return False
    return True


def no_longer_served(
    client: SyncPrefectClient, root: Path, keep: Collection[UUID], is_own_server: bool
) -> list[DeploymentResponse]:
    """Return this repository's deployments besides those to keep: of experiments that are not active any more.

    Args:
        client: of the server.
        root: of the repository.
        keep: ids of the deployments that are served.
        is_own_server: it is this repository's, so that what has no repository's name, as in earlier releases, is too.
    """
    ours = f"@{repository_name(root)}"
    found: list[DeploymentResponse] = []
    while page := client.read_deployments(
        deployment_filter=DeploymentFilter.model_validate({"tags": {"all_": [TAG]}}), limit=_AT_ONCE, offset=len(found)
    ):
        found += page
    return [
        each
        for each in found
        if each.id not in keep and (each.name.endswith(ours) or (is_own_server and "@" not in each.name))
    ]


def _of_experiment(params: Params, experiment: str, root: Path) -> list[RunnerDeployment]:
    schedule = params.experiment(experiment).schedule
    rebuilding, tidying = (schedule_of(when, schedule.timezone) for when in (schedule.rebuild, schedule.tidy))
    plan: list[tuple[Flow[..., Any], CronSchedule | IntervalSchedule | None]] = [
        (ingest, None),
        (rebuild, rebuilding),
        (retrain, rebuilding),
        (tidy, tidying),
    ]
    return [
        served.to_deployment(
            name=deployment_name(root, experiment),
            parameters={"experiment": experiment},
            schedules=[] if when is None else [_entry(when)],
            description=(served.fn.__doc__ or "").partition("\n")[0],
            tags=[TAG],
            entrypoint_type=EntrypointType.MODULE_PATH,
            _sync=True,  # pyright: ignore[reportCallIssue]
        )
        for served, when in plan
    ]


def _entry(schedule: CronSchedule | IntervalSchedule) -> DeploymentScheduleCreate:
    return DeploymentScheduleCreate(schedule=schedule, active=True, slug=SLUG)


def schedule_of(when: str, timezone: str) -> CronSchedule | IntervalSchedule:
    """Return a schedule of params.yaml as Prefect's.

    Raises:
        ConfigError: a cron expression names times that do not exist.
    """
    interval = interval_of(when)
    if interval is not None:
        return IntervalSchedule(interval=interval, anchor_date=_ANCHOR, timezone=timezone)
    try:
        return CronSchedule(cron=when, timezone=timezone)
    except ValueError:
        raise ConfigError(f"a schedule's cron expression must name times that exist, got {when!r}; mend it") from None
