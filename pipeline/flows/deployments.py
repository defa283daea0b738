"""Which flows are served for which experiment, and when they run."""

from typing import Any

from prefect.deployments.runner import RunnerDeployment
from prefect.flows import Flow
from prefect.schedules import Cron, Interval, Schedule
from prefect.types.entrypoint import EntrypointType

from pipeline.config import Params
from pipeline.config.when import interval_of
from pipeline.errors import ConfigError
from pipeline.flows.ingest import ingest
from pipeline.flows.rebuild import rebuild
from pipeline.flows.retrain import retrain
from pipeline.flows.tidy import tidy


def deployments_of(params: Params) -> list[RunnerDeployment]:
    """Return the deployments of all active experiments, named ``<flow>/<experiment>``.

    Raises:
        ConfigError: a cron expression names times that do not exist.
    """
    return [deployment for experiment in params.active for deployment in _of_experiment(params, experiment)]


def _of_experiment(params: Params, experiment: str) -> list[RunnerDeployment]:
    schedule = params.experiment(experiment).schedule
    rebuilding, tidying = (_schedule(when, schedule.timezone) for when in (schedule.rebuild, schedule.tidy))
    plan: list[tuple[Flow[..., Any], Schedule | None]] = [
        (ingest, None),
        (rebuild, rebuilding),
        (retrain, rebuilding),
        (tidy, tidying),
    ]
    return [
        served.to_deployment(
            name=experiment,
            parameters={"experiment": experiment},
            schedule=when,
            description=(served.fn.__doc__ or "").partition("\n")[0],
            tags=["facets"],
            entrypoint_type=EntrypointType.MODULE_PATH,
            _sync=True,  # pyright: ignore[reportCallIssue]
        )
        for served, when in plan
    ]


def _schedule(when: str, timezone: str) -> Schedule:
    interval = interval_of(when)
    if interval is not None:
        return Interval(interval, timezone=timezone)
    try:
        return Cron(when, timezone=timezone)
    except ValueError:
        raise ConfigError(f"a schedule's cron expression must name times that exist, got {when!r}; mend it") from None
