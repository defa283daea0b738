"""Making room: old versions, resume files that nobody will resume, what DVC's cache holds for nothing."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import load_params
from pipeline.layout import Layout
from pipeline.operations.dvc import run_dvc
from pipeline.operations.locks import publish_lock, repository_lock
from pipeline.operations.remove import carry_out_removals
from pipeline.storage import disk_usage
from pipeline.tables import History

_RESUME_DAYS = 14.0
_SECONDS_A_DAY = 86400.0


@dataclass(frozen=True)
class TidyResult:
    """What was deleted.

    Attributes:
        experiment: its name.
        versions: numbers of the versions that can no longer be read.
        resume_folders: names of deleted folders of resume files.
        freed_mebibytes: by which the repository shrank.
    """

    experiment: str
    versions: tuple[int, ...]
    resume_folders: tuple[str, ...]
    freed_mebibytes: float


def tidy(root: Path, experiment: str, wait_seconds: float = 0.0) -> TidyResult:
    """Delete what nothing refers to: versions beyond ``publish.keep_versions``, old resume files, unused cache.

    Kept are the current version, the model in service, every shard, and every output of a stage of an active
    experiment.

    Raises:
        ConfigError: the experiment is unknown.
        BusyError: another process uses DVC or changes batches.
    """
    keep = load_params(root).experiment(experiment).publish.keep_versions
    layout = Layout(root, experiment)
    folders = (layout.published, layout.work("", "").parent, root / ".dvc" / "cache")
    before = sum(map(disk_usage, folders))
    carry_out_removals(layout, wait_seconds)
    versions: list[int] = []
    history = History(layout.published)
    if history.current() is not None:
        with publish_lock(layout, "tidy"):
            versions = history.prune(keep)
    with repository_lock(root, f"tidy {experiment}", wait_seconds) as held:
        resume_folders = _forget_old_work(layout)
        run_dvc(root, ["gc", "--workspace", "--force"], held)
    freed = before - sum(map(disk_usage, folders))
    return TidyResult(experiment, tuple(sorted(versions)), tuple(resume_folders), round(freed / 2**20, 1))


def _forget_old_work(layout: Layout) -> list[str]:
    """Delete folders of resume files that have not changed for long; a run that still works renews its own."""
    oldest = time.time() - _RESUME_DAYS * _SECONDS_A_DAY
    deleted: list[str] = []
    for folder in layout.work("", "").parent.glob("*-*"):
        times = [folder.stat().st_mtime, *(path.stat().st_mtime for path in folder.rglob("*"))]
        if folder.is_dir() and max(times) < oldest:
            shutil.rmtree(folder)
            deleted.append(folder.name)
    return sorted(deleted)
