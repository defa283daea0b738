"""When a model is trained anew with the batches that came in since, and doing so."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event

from pipeline.config.service import ScheduleParams
from pipeline.core.layout import Layout
from pipeline.core.storage import write_json
from pipeline.core.text import counted
from pipeline.datasets.prepare.id_list import read_id_list
from pipeline.operations.locks import repository_lock
from pipeline.operations.rebuild import RebuildResult, active_experiment, rebuild
from pipeline.operations.run_log import log_run
from pipeline.operations.tracked import remember_tracked
from pipeline.tables import History

_SECONDS_A_DAY = 86400.0


@dataclass(frozen=True)
class RetrainPlan:
    """Whether to retrain, and why.

    Attributes:
        experiment: its name.
        reasons: why it is due; empty where it is not.
        facts: where each limit of the policy stands.
        waiting: batches that no training has seen yet, in the order in which they came in.
        joining: those of them that join now: all or none.
        unfinished: batches that joined before, but on which the model in service was not trained.
    """

    experiment: str
    reasons: tuple[str, ...]
    facts: tuple[str, ...]
    waiting: tuple[str, ...]
    joining: tuple[str, ...]
    unfinished: tuple[str, ...]


@dataclass(frozen=True)
class RetrainResult:
    """What ``retrain`` decided and did.

    Attributes:
        plan: the decision.
        rebuild: what the rebuild did; None where none was due or wanted.
    """

    plan: RetrainPlan
    rebuild: RebuildResult | None


def plan_retrain(layout: Layout, schedule: ScheduleParams, *, force: bool = False) -> RetrainPlan:
    """Ask the policy whether new batches should join the training now.

    Args:
        layout: of the experiment.
        schedule: the limits.
        force: a person has decided: whatever waits joins.

    Raises:
        PublishError: nothing is published yet.
    """
    history = History(layout.published)
    joined = set(read_id_list(layout.joined))
    live = [row for row in history.rows("batches") if row["status"] == "live"]
    waiting = [row for row in live if row["batch_id"] not in joined]
    unfinished = [row["batch_id"] for row in live if row["batch_id"] in joined]
    n_images = sum(row["n_images"] for row in waiting)
    n_drifted = sum(bool(row["drifted"]) for row in waiting)
    days = (time.time() - _trained_at(history.model_folder())) / _SECONDS_A_DAY
    limits = (
        (n_images, schedule.retrain_new_images, f"{n_images} of {schedule.retrain_new_images} new images"),
        (
            n_drifted,
            schedule.retrain_drifted_batches,
            f"{n_drifted} of {schedule.retrain_drifted_batches} drifted batches",
        ),
        (days, schedule.retrain_days, f"{days:.0f} of {schedule.retrain_days} days since the model was trained"),
    )
    reasons = [fact for value, limit, fact in limits if waiting and value >= limit]
    if force and waiting:
        reasons.append(f"asked for: {counted(len(waiting), 'batch')} with {counted(n_images, 'image')} waiting")
    joining = waiting if reasons else []
    if unfinished:
        reasons.append(
            f"the model in service was not trained on {counted(len(unfinished), 'batch')} that joined before"
        )
    return RetrainPlan(
        layout.experiment,
        tuple(reasons),
        tuple(fact for _, _, fact in limits),
        tuple(row["batch_id"] for row in waiting),
        tuple(row["batch_id"] for row in joining),
        tuple(unfinished),
    )


def retrain(
    root: Path,
    experiment: str,
    *,
    force: bool = False,
    wait_seconds: float = 0.0,
    on_line: Callable[[str], None] | None = None,
    cancel: Event | None = None,
) -> RetrainResult:
    """Let new batches join the training where the policy says so, then rebuild from scratch and publish.

    Args:
        root: the repository.
        experiment: its name.
        force: join whatever waits, whatever the policy says.
        wait_seconds: how long to wait for another process that uses DVC here.
        on_line: called with every line that DVC and the stages print.
        cancel: when set by another thread, the run is ended; the next one goes on where it stopped.

    Raises:
        ConfigError: the experiment is unknown or not active.
        PublishError: nothing is published yet, or the new model is not healthy; the published version stays.
        BusyError: another process holds the lock.
        PipelineError: a stage failed, with its message.
    """
    schedule = active_experiment(root, experiment).schedule
    layout = Layout(root, experiment)
    plan = plan_retrain(layout, schedule, force=force)
    if not plan.reasons:
        return RetrainResult(plan, None)
    # Under the lock: no stage that runs now may find other batches at its end than at its start.
    with repository_lock(root, f"retrain {experiment}", wait_seconds):
        plan = plan_retrain(layout, schedule, force=force)
        joined = read_id_list(layout.joined)
        write_json(layout.joined, [*joined, *plan.joining])
        remember_tracked(layout, layout.joined)
    result = RetrainResult(plan, rebuild(root, experiment, wait_seconds, on_line, cancel))
    log_run(root, "retrain", asdict(plan))
    return result


def _trained_at(model: Path) -> float:
    """Return when a model's training ended, in seconds since the epoch."""
    return (model / "model.json").stat().st_mtime
