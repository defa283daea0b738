"""Making room: old versions, abandoned resume files, unused entries of DVC's cache."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import load_params
from pipeline.core.layout import Layout
from pipeline.core.storage import disk_usage, read_json, remove_leftovers, write_json
from pipeline.core.upgrades import read_model_file
from pipeline.datasets.prepare.id_list import read_id_list
from pipeline.operations.dvc import run_dvc
from pipeline.operations.locks import HeldLock, publish_lock, repository_lock
from pipeline.operations.remove import carry_out_removals, lingering
from pipeline.tables import History

_RESUME_DAYS = 14.0
_SECONDS_A_DAY = 86400.0


@dataclass(frozen=True)
class TidyResult:
    """What was deleted.

    Attributes:
        experiment: its name.
        versions: numbers of the versions that were deleted.
        withdrawn: those of them that could not be read any more, because images in them were removed; the others were
            more than ``publish.keep_versions``.
        resume_folders: names of deleted folders of resume files.
        leftovers: files and folders that killed processes had begun to write.
        purged: whether outputs that only other branches, tags and DVC's experiments need went too, because images were
            removed that they may hold.
        freed_mebibytes: by which the repository shrank.
    """

    experiment: str
    versions: tuple[int, ...]
    withdrawn: tuple[int, ...]
    resume_folders: tuple[str, ...]
    leftovers: tuple[str, ...]
    purged: bool
    freed_mebibytes: float


def tidy(root: Path, experiment: str, wait_seconds: float = 0.0) -> TidyResult:
    """Delete what nothing refers to: versions beyond ``publish.keep_versions``, old resume files, unused cache.

    Kept are the current version, the model in service, every shard, and every output of a stage of an active
    experiment, here and on every branch, at every tag and in every experiment of DVC (see :func:`collect_garbage`).

    Raises:
        ConfigError: the experiment is unknown.
        BusyError: another process uses DVC or changes batches.
    """
    keep = load_params(root).experiment(experiment).publish.keep_versions
    layout = Layout(root, experiment)
    folders = (layout.published, layout.workspace, root / ".dvc" / "cache")
    before = sum(map(disk_usage, folders))
    carry_out_removals(layout, wait_seconds)
    versions: dict[int, str | None] = {}
    history = History(layout.published)
    if history.current() is not None:
        with publish_lock(layout, "tidy"):
            versions = history.prune(keep, _trained(layout))
            history.purge_current()
    with repository_lock(root, f"tidy {experiment}", wait_seconds) as held:
        resume_folders = _forget_old_work(layout)
        leftovers = _forget_leftovers(layout)
        purged = collect_garbage(root, held)
    freed = round((before - sum(map(disk_usage, folders))) / 2**20, 1)
    withdrawn = tuple(sorted(number for number, reason in versions.items() if reason is not None))
    return TidyResult(experiment, tuple(sorted(versions)), withdrawn, tuple(resume_folders), leftovers, purged, freed)


def collect_garbage(root: Path, held: HeldLock) -> bool:
    """Delete unused entries of DVC's cache, under the repository lock.

    What another branch, a tag or an experiment of DVC needs stays: some of it took days of training. It goes too the
    first time after images were removed, as it may hold them and DVC cannot tell which of it does.

    Returns:
        Whether it went.
    """
    lists = {path.stem: read_id_list(path) for path in sorted((root / "data" / "removed").glob("*.json"))}
    removed = {experiment: ids for experiment, ids in lists.items() if ids}
    record = root / ".work" / "purged.json"
    purge = bool(removed) and not (record.exists() and read_json(record) == removed)
    kept = ("workspace",) if purge else ("workspace", "all-branches", "all-tags", "all-experiments")
    run_dvc(root, ["gc", *(f"--{name}" for name in kept), "--force"], held)
    # As long as prepared data hold removed images, the cache does.
    if purge and not any(lingering(Layout(root, experiment)) for experiment in removed):
        write_json(record, removed)
    return purge


def _trained(layout: Layout) -> str | None:
    """Return the model that was trained last; none while a training is under way."""
    trained = layout.artifact("model")
    return read_model_file(trained)["model_version"] if (trained / "model.json").exists() else None


def _forget_leftovers(layout: Layout) -> tuple[str, ...]:
    """Delete what killed processes had begun to write in any folder of the experiment and beside the root's own files.

    Not in the drop folder, nor where a source lies: files there are not ours, whatever they are called.
    """
    root, own = layout.root, (layout.published, layout.batches, layout.prepared, layout.artifact("model").parent)
    beside = {root, root / ".work", *(path.parent for path in own)}
    beside |= {
        path.parent for path in (layout.names, layout.hints, layout.joined, layout.removed, layout.source_manifest)
    }
    found = [path for folder in (*own, layout.workspace) for path in remove_leftovers(folder)]
    found += [path for folder in sorted(beside) for path in remove_leftovers(folder, below=False)]
    return tuple(str(path.relative_to(root)) for path in found)


def _forget_old_work(layout: Layout) -> list[str]:
    """Delete folders of resume files that have not changed for long; a run that still works renews its own."""
    oldest = time.time() - _RESUME_DAYS * _SECONDS_A_DAY
    deleted: list[str] = []
    for folder in layout.workspace.glob("*-*"):
        times = [folder.stat().st_mtime, *(path.stat().st_mtime for path in folder.rglob("*"))]
        if folder.is_dir() and max(times) < oldest:
            shutil.rmtree(folder)
            deleted.append(folder.name)
    return sorted(deleted)
