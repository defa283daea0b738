"""From parameters and source to published tables: everything that is stale, nothing else."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from pipeline.config import load_params
from pipeline.config.resolved import write_resolved
from pipeline.config.sections import Experiment
from pipeline.config.sources import SOURCES
from pipeline.core.errors import ConfigError, ModelError, UnhealthyError
from pipeline.core.layout import Layout
from pipeline.datasets.prepare.quarantine import Account, read_account
from pipeline.operations.dvc import check_repository
from pipeline.operations.first_publish import require_own_history
from pipeline.operations.fixed_params import require_fixed_params
from pipeline.operations.hint import require_usable_hints
from pipeline.operations.locks import repository_lock
from pipeline.operations.publish import publish_staged, stage_model
from pipeline.operations.renew_batches import renew_batches
from pipeline.operations.repro import StageRun, reproduce, reproduce_stage, stale_stages
from pipeline.operations.run_log import log_run
from pipeline.operations.scan import scan_source
from pipeline.tables import History

if TYPE_CHECKING:
    from pipeline.operations.retry import Retry


@dataclass(frozen=True)
class RebuildResult:
    """What a rebuild did.

    Attributes:
        experiment: its name.
        stages: all stages, in order.
        version: the published version that readers now see.
        model_version: the model in service.
        is_new: whether this rebuild made that version.
        seconds: from start to end, waiting for locks included.
        account: what became of the images of the source; None where an earlier release prepared them.
        changes: what was changed in ``params.yaml``, as it did not train; one line a value.
    """

    experiment: str
    stages: tuple[StageRun, ...]
    version: int
    model_version: str
    is_new: bool
    seconds: float
    account: Account | None
    changes: tuple[str, ...]


def rebuild(
    root: Path,
    experiment: str,
    wait_seconds: float = 0.0,
    on_line: Callable[[str], None] | None = None,
    cancel: Event | None = None,
    *,
    new_history: bool = False,
    retry_seconds: float = 0.0,
) -> RebuildResult:
    """Bring an active experiment up to date: scan, run the stale stages, publish the model if it is healthy.

    Args:
        root: the repository.
        experiment: its name.
        wait_seconds: how long to wait for another process that uses DVC here.
        on_line: called with every line that DVC and the stages print.
        cancel: when set by another thread, the run is ended; the next rebuild goes on where it stopped.
        new_history: publish although the experiment was published elsewhere; clusters get other ids than there.
        retry_seconds: how long trials of other settings may take where an experiment that was never published does not
            train; what then trains is written to ``params.yaml``.

    Raises:
        ConfigError: a parameter breaks a rule, the experiment is unknown or not active, or hints are about a facet that
            cannot follow any.
        DataError: hints tell nothing, or a file of them is damaged.
        BusyError: another process holds the lock.
        PublishError: the new model is not healthy; the published version stays. Or the experiment was published
            elsewhere, and nothing is published here.
        PipelineError: a stage failed, with its message.
    """
    start = time.monotonic()
    check_repository(root)
    sections = active_experiment(root, experiment)
    layout = Layout(root, experiment)
    if not new_history:
        require_own_history(layout)
    require_fixed_params(layout, sections.preprocess)
    require_usable_hints(layout, sections.model)
    scan_source(layout, sections.preprocess)
    renew_batches(layout, wait_seconds)
    retry = _open_retry(layout, sections, retry_seconds, on_line)
    before: StageRun | None = None
    while True:
        try:
            with repository_lock(root, f"rebuild {experiment}", wait_seconds) as held:
                if retry is not None and before is None and retry.known_seconds(sections) is None:
                    write_resolved(layout)  # which stage preprocess reads
                    before = reproduce_stage(layout, "preprocess", "", held, on_line)
                    sections = retry.check_first(sections)
                stale = stale_stages(layout, held)
                if retry is not None and "train" in stale:
                    retry.announce(sections)
                stages = reproduce(layout, stale, held, on_line, cancel)
                model_version = stage_model(layout, sections)
            version, is_new = publish_staged(layout, sections, model_version)
            break
        except (ModelError, UnhealthyError) as error:
            if retry is None or not _is_of_training(error):
                raise
            with repository_lock(root, f"rebuild {experiment}", wait_seconds):
                sections = retry.change(sections, str(error))
    if before is not None and before.action != "unchanged":
        stages = tuple(before if run.stage == before.stage else run for run in stages)
    changes = tuple(map(str, retry.changes)) if retry is not None else ()
    seconds, account = round(time.monotonic() - start, 1), read_account(layout.prepared)
    result = RebuildResult(experiment, stages, version, model_version, is_new, seconds, account, changes)
    if is_new or stale:
        log_run(root, "rebuild", asdict(result))
    return result


def _open_retry(
    layout: Layout, sections: Experiment, seconds: float, on_line: Callable[[str], None] | None
) -> "Retry | None":
    """Return what tries other settings, where it may: of a person's own images, while nothing is in service."""
    is_own = SOURCES[sections.preprocess.source].takes_path
    if not seconds or not is_own or History(layout.published).current() is not None:
        return None
    from pipeline.operations.retry import Retry  # with torch, which takes longer to load than all else of a rebuild

    return Retry(layout, seconds, on_line)


def _is_of_training(error: ModelError | UnhealthyError) -> bool:
    return isinstance(error, UnhealthyError) or str(error).startswith("train@")


def active_experiment(root: Path, experiment: str) -> Experiment:
    """Return the parameters of an experiment that may be rebuilt.

    Raises:
        ConfigError: a parameter breaks a rule, or the experiment is unknown or not active.
    """
    params = load_params(root)
    sections = params.experiment(experiment)
    if experiment not in params.active:
        raise ConfigError(
            f"only an active experiment is rebuilt, got {experiment!r}; add it to active in params.yaml "
            f"(now {', '.join(params.active)})"
        )
    return sections
