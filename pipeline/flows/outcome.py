"""What follows when a flow run has ended: alerts for those that failed or crashed.

Hooks of Prefect, which calls them wherever the run is executed: in the run's own process, or for one that died in the
service or the worker that had started it. Some of its callers name the arguments.
"""

from typing import Any

from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow
from prefect.utilities.urls import url_for

from pipeline.core.errors import ConfigError, PublishError
from pipeline.flows.alert import end_alerts, send_alert
from pipeline.flows.environment import repository_root

_NOT_PUBLISHED = {"rebuild": "was not published", "retrain": "was retrained but not published"}


def report_failure(flow: Flow[..., Any], flow_run: FlowRun, state: State) -> None:
    """Send an alert about a run that failed; Prefect's task retries are over then."""
    experiment = experiment_of(flow_run)
    error = state.result(raise_on_failure=False)
    reason = str(error) if isinstance(error, Exception) else state.message or state.name
    if isinstance(error, PublishError) and flow.name in _NOT_PUBLISHED:
        text = f"{experiment} {_NOT_PUBLISHED[flow.name]}: {reason}"
    elif isinstance(error, ConfigError):
        text = f"{flow.name} of {experiment} cannot run as it is configured: {reason}"
    else:
        text = f"{flow.name} of {experiment} failed: {reason}"
    send_alert(repository_root(), alert_key(flow.name, experiment), text, _address(flow_run))


def report_crash(flow: Flow[..., Any], flow_run: FlowRun, state: State) -> None:
    """Send an alert about a run whose process died."""
    report_crash_of(flow.name, flow_run, state.message or state.name or "")


def report_crash_of(flow: str, flow_run: FlowRun, reason: str) -> None:
    """Send an alert about a run of which nothing but the server's record is left.

    Args:
        flow: its flow's name.
        flow_run: the record; its own name says nothing while it is the one that Prefect made up.
        reason: why it ended.
    """
    experiment = experiment_of(flow_run)
    text = f"{flow} of {experiment} crashed, the next run goes on where it stopped: {reason}"
    send_alert(repository_root(), alert_key(flow, experiment), text, _address(flow_run))


def end_report(flow: Flow[..., Any], flow_run: FlowRun, state: State) -> None:
    """Note that a flow works again."""
    key = alert_key(flow.name, experiment_of(flow_run))
    end_alerts(repository_root(), lambda known: known == key)


def experiment_of(flow_run: FlowRun) -> str:
    """Return a run's experiment, or that there is none where somebody asked for it without one."""
    return str(flow_run.parameters.get("experiment") or "no experiment")


def _address(flow_run: FlowRun) -> str:
    """Return where Prefect shows a run, with its log; nothing where no server is known."""
    return url_for("flow-run", obj_id=flow_run.id) or ""


def alert_key(flow: str, experiment: str) -> str:
    """Return under which key alerts about a flow of an experiment go."""
    return f"{flow} {experiment}"


HOOKS: dict[str, Any] = {"on_failure": [report_failure], "on_crashed": [report_crash], "on_completion": [end_report]}
"""Keyword arguments for ``@flow``."""
