"""Flow ``rebuild``: nothing if nothing has changed, else one task a stage, then publishing."""

from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from pipeline.errors import BusyError, PublishError
from pipeline.flows.alert import send_alert
from pipeline.flows.artifacts import show_rebuild
from pipeline.flows.commands import LineLog, run_facets
from pipeline.flows.environment import repository_root, start_flow
from pipeline.layout import Layout
from pipeline.operations.consent import require_consent
from pipeline.operations.fingerprint import is_up_to_date, remember
from pipeline.operations.locks import HeldLock, repository_lock
from pipeline.operations.rebuild import active_experiment
from pipeline.operations.repro import STAGES, StageRun, reproduce_stage, stale_stages
from pipeline.operations.scan import scan_source

_WAIT_SECONDS = 24 * 3600.0


@task(cache_policy=NO_CACHE, persist_result=False)
def decide(experiment: str) -> bool:
    """Tell whether there is anything to do, from files alone."""
    root = repository_root()
    sections = active_experiment(root, experiment)
    layout = Layout(root, experiment)
    scan_source(layout, sections.preprocess)
    return not is_up_to_date(layout)


@task(cache_policy=NO_CACHE, persist_result=False, task_run_name="{stage}")
def run_stage(experiment: str, stage: str, reason: str, held: HeldLock) -> StageRun:
    """Run one DVC stage in a process group of its own."""
    root = repository_root()
    return reproduce_stage(Layout(root, experiment), stage, reason, held, LineLog(root, f"{experiment}-{stage}"))


def _is_busy(_task: Any, _run: Any, state: State) -> bool:
    return isinstance(state.result(raise_on_failure=False), BusyError)


@task(cache_policy=NO_CACHE, persist_result=False, retries=3, retry_delay_seconds=20, retry_condition_fn=_is_busy)
def publish(experiment: str) -> dict[str, Any]:
    """Publish the model, if it is healthy."""
    root = repository_root()
    return run_facets(root, ["publish", experiment, "--wait", "600"], LineLog(root, f"{experiment}-publish"))


@flow(name="rebuild", flow_run_name="rebuild {experiment}", persist_result=False)
def rebuild(experiment: str, yes: bool = False) -> State:
    """Bring an experiment up to date.

    Args:
        experiment: its name.
        yes: train also where only code has changed and the training takes long.
    """
    root = start_flow()
    if not decide(experiment):
        return Completed(message="nothing has changed since the last rebuild")
    layout = Layout(root, experiment)
    # Runs that are late wait here, then find that the first of them has done the work.
    with repository_lock(root, f"flow rebuild {experiment}", _WAIT_SECONDS) as held:
        if not decide(experiment):
            return Completed(message="another run has just done it")
        stale = stale_stages(layout, held)
        if not yes:
            require_consent(layout, stale, active_experiment(root, experiment).schedule.ask_minutes)
        runs = _run_stages(experiment, stale, held)
    try:
        published = publish(experiment)
    except PublishError as error:
        send_alert(root, f"{experiment} was not published: {error}")
        raise
    remember(layout)
    show_rebuild(layout, runs, published)
    n_ran = sum(run.action != "unchanged" for run in runs)
    return Completed(message=f"{n_ran} stages ran, version {published['version']}")


def _run_stages(experiment: str, stale: dict[str, str], held: HeldLock) -> list[StageRun]:
    """Run from the first stale stage on; a stage whose inputs turn out the same is a matter of seconds."""
    runs: list[StageRun] = []
    for stage in STAGES:
        if stage in stale or any(run.action != "unchanged" for run in runs):
            runs.append(run_stage(experiment, stage, stale.get(stage, ""), held))
        else:
            runs.append(StageRun(stage, "unchanged", "", 0.0))
    return runs
