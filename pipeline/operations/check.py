"""Whether parameters, published tables and everything else that is kept are right."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import load_params
from pipeline.core.errors import BusyError, DataError, PipelineError, PublishError
from pipeline.core.folder_seal import folder_faults, is_folder_sealed
from pipeline.core.layout import Layout
from pipeline.operations.locks import repository_lock
from pipeline.operations.outputs import absent_stages, locked_files, output_faults
from pipeline.operations.page import page_fault
from pipeline.operations.repair import repair
from pipeline.operations.shard_faults import shard_faults
from pipeline.operations.shards import describe_left
from pipeline.operations.tracked import tracked_faults
from pipeline.tables import History
from pipeline.tables.current import current_fault
from pipeline.tables.inventory import part_faults, record_faults
from pipeline.tables.place import due


@dataclass(frozen=True)
class CheckResult:
    """What was found in one experiment.

    Attributes:
        problems: one line each; those that are left where it was repaired.
        mended: problems that were repaired.
        waiting: what is not finished and no damage, a line each: outputs that stages have yet to make, batches that are
            yet to be published.
    """

    problems: tuple[str, ...]
    mended: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()


def check_experiments(
    root: Path,
    experiments: Sequence[str] | None = None,
    *,
    deep: bool = False,
    mend: bool = False,
    wait_seconds: float = 0.0,
) -> dict[str, CheckResult]:
    """Return what is wrong with experiments, after all parameters were found legal.

    Args:
        root: the repository.
        experiments: which; by default all that have published.
        deep: besides the current version also older ones, models, shards, page, outputs of stages and tracked files,
            each byte of them.
        mend: repair what can be computed again or has a second copy.
        wait_seconds: how long a repair waits for others.

    Raises:
        ConfigError: a parameter breaks a rule, or an experiment is unknown.
        PublishError: an experiment asked for has published nothing.
        BusyError: another process changes what is to be repaired.
    """
    params = load_params(root)
    found: dict[str, CheckResult] = {}
    for name in experiments or params.experiments:
        sections, layout = params.experiment(name), Layout(root, name)
        if not _has_published(layout):
            if experiments:
                raise PublishError(
                    f"{name} must have a published version to be checked, got none; {due(layout.published)}"
                )
            continue
        problems = _problems(layout, deep or mend)
        mended: list[str] = []
        if mend and problems:
            repair(layout, sections, wait_seconds)
            left = _problems(layout, deep=True)
            mended, problems = [problem for problem in problems if problem not in left], left
        waiting = (_unfinished(layout) if deep or mend else "", _left(layout))
        found[name] = CheckResult(tuple(problems), tuple(mended), tuple(filter(None, waiting)))
    return found


def _has_published(layout: Layout) -> bool:
    try:
        return History(layout.published).current() is not None
    except DataError:
        return True


def _left(layout: Layout) -> str:
    with suppress(DataError):  # damage stands among the problems, or is what --deep looks for
        return describe_left(layout)
    return ""


def _problems(layout: Layout, deep: bool) -> list[str]:
    history = History(layout.published)
    found = history.check()
    if deep:
        broken = record_faults(layout.published)
        found += [*broken, *part_faults(layout.published), *_model_faults(layout)]
        for faults in (_content_faults, shard_faults, _page_faults, _output_faults, _tracked_faults):
            try:
                found += faults(layout)
            except PipelineError as error:
                found.append(str(error))
    return list(dict.fromkeys(found))


def _model_faults(layout: Layout) -> list[str]:
    found: list[str] = []
    for folder in sorted(layout.published.glob("models/m-*")):
        if is_folder_sealed(folder):
            found += [f"{folder / name} {reason}" for name, reason in folder_faults(folder).items()]
        else:
            found.append(f"{folder} has no files.json with digests yet; run facets check --repair to write it")
    return found


def _content_faults(layout: Layout) -> list[str]:
    # Damage of these files stands among the problems of the current version already.
    if not History(layout.published).lacks_content():
        return []
    return [
        f"{layout.published}/parts/content must cover all published images, but does not; run facets check --repair"
    ]


def _page_faults(layout: Layout) -> list[str]:
    return list(filter(None, [current_fault(layout.published), page_fault(layout)]))


def _output_faults(layout: Layout) -> list[str]:
    try:
        # While stages run, their outputs come and go.
        with repository_lock(layout.root, f"check {layout.experiment}"):
            known = locked_files(layout, without=absent_stages(layout)[0])
            return [f"{path} {reason}" for path, reason in output_faults(known).items()]
    except BusyError:
        return []


def _unfinished(layout: Layout) -> str:
    """Say which stages a rebuild has yet to finish, or that none has run here; nothing while one may be running."""
    try:
        with repository_lock(layout.root, f"check {layout.experiment}"):
            stages, are_all = absent_stages(layout)
    except (BusyError, DataError):  # damage stands among the problems
        return ""
    if stages and are_all:
        return f"what stages make is not here; dvc pull, or facets rebuild {layout.experiment}, brings it"
    left = f"stage {stages[0]} has" if len(stages) == 1 else f"stages {', '.join(stages)} have"
    return f"{left} not finished; facets rebuild {layout.experiment} goes on" if stages else ""


def _tracked_faults(layout: Layout) -> list[str]:
    return [f"{path} {reason}" for path, reason in tracked_faults(layout).items()]
