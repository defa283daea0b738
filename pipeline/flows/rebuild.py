"""Flow ``rebuild``: nothing if nothing has changed, else one task a stage, then publishing."""

from contextlib import ExitStack
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from pipeline.config.dag import stage_names
from pipeline.core.errors import BusyError, ResourceError
from pipeline.core.layout import Layout
from pipeline.flows.artifacts import show_rebuild
from pipeline.flows.commands import LineLog, run_facets
from pipeline.flows.environment import repository_root
from pipeline.flows.outcome import HOOKS
from pipeline.flows.repository import own_root
from pipeline.operations.consent import require_consent
from pipeline.operations.fingerprint import is_up_to_date, remember
from pipeline.operations.first_publish import require_own_history
from pipeline.operations.fixed_params import require_fixed_params
from pipeline.operations.locks import HeldLock, next_in_line, repository_lock
from pipeline.operations.rebuild import active_experiment
from pipeline.operations.repro import StageRun, reproduce_stage, stale_stages
from pipeline.operations.scan import scan_source
from pipeline.operations.stage_server import stage_server

_WAIT_SECONDS = 24 * 3600.0
_KNOWN = "resolve"  # what it writes was there when the others were asked whether they are stale


@task(cache_policy=NO_CACHE, persist_result=False)
def decide(experiment: str) -> bool:
    """Tell whether there is anything to do, from files alone."""
    root = repository_root()
    sections = active_experiment(root, experiment)
    layout = Layout(root, experiment)
    require_own_history(layout)
    require_fixed_params(layout, sections.preprocess)
    scan_source(layout, sections.preprocess)
    return not is_up_to_date(layout)


def _may_pass(_task: Any, _run: Any, state: State) -> bool:
    """Tell whether a retry may succeed: a lock was held, or the machine ended a process."""
    return isinstance(state.result(raise_on_failure=False), BusyError | ResourceError)


@task(
    cache_policy=NO_CACHE,
    persist_result=False,
    task_run_name="{stage}",
    retries=2,
    retry_delay_seconds=10,
    retry_condition_fn=_may_pass,
)
def run_stage(experiment: str, stage: str, reason: str, held: HeldLock, python: str) -> StageRun:
    """Run one DVC stage in a process group of its own; a training goes on where it stopped."""
    root = repository_root()
    return reproduce_stage(
        Layout(root, experiment), stage, reason, held, LineLog(root, f"{experiment}-{stage}"), python
    )


@task(cache_policy=NO_CACHE, persist_result=False, retries=3, retry_delay_seconds=20, retry_condition_fn=_may_pass)
def publish(experiment: str) -> dict[str, Any]:
    """Publish the model, if it is healthy."""
    root = repository_root()
    return run_facets(root, ["publish", experiment, "--wait", "600"], LineLog(root, f"{experiment}-publish"))


@flow(name="rebuild", flow_run_name="rebuild {experiment}", persist_result=False, **HOOKS)
def rebuild(experiment: str, yes: bool = False) -> State:
    """Bring an experiment up to date.

    Args:
        experiment: its name.
        yes: train also where only code has changed and the training takes long.
    """
    root = own_root()
    if not decide(experiment):
        return Completed(message="nothing has changed since the last rebuild")
    layout = Layout(root, experiment)
    with ExitStack() as stack:
        held = _take_turn(layout, stack)
        if held is None:
            return Completed(message="another run waits for its turn and will do it")
        if not decide(experiment):
            return Completed(message="another run has just done it")
        stale = stale_stages(layout, held)
        if not yes:
            require_consent(layout, stale, active_experiment(root, experiment).schedule.ask_minutes)
        runs = _run_stages(layout, stale, held, stack.enter_context(stage_server(layout.root)))
    published = publish(experiment)
    remember(layout)
    show_rebuild(layout, runs, published)
    ran = ", ".join(run.stage for run in runs if run.action != "unchanged")
    return Completed(message=f"{ran or 'no stage'} ran, version {published['version']} is in service")


def _take_turn(layout: Layout, stack: ExitStack) -> HeldLock | None:
    """Wait for the repository lock; None where a run of the same experiment waits already.

    A training may take hours: of the runs that come due meanwhile one waits, the others would only take up room.
    """
    with ExitStack() as line:
        try:
            line.enter_context(next_in_line(layout))
        except BusyError:
            return None
        return stack.enter_context(repository_lock(layout.root, f"flow rebuild {layout.experiment}", _WAIT_SECONDS))


def _run_stages(layout: Layout, stale: dict[str, str], held: HeldLock, python: str) -> list[StageRun]:
    """Run from the first stale stage on; a stage whose inputs turn out the same is a matter of seconds."""
    runs: list[StageRun] = []
    follows = False
    for stage in stage_names(layout.root):
        if not follows and stage not in stale:
            runs.append(StageRun(stage, "unchanged", "", 0.0))
            continue
        runs.append(run_stage(layout.experiment, stage, stale.get(stage, ""), held, python))
        follows = follows or (runs[-1].action != "unchanged" and stage != _KNOWN)
    return runs
