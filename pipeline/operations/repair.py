"""Damage is mended: from second copies, from what the stages left, from what can be computed again.

In this order, because one thing is needed for the next: outputs of stages from DVC's cache, records, models, shards,
parts, the page, files tracked in git. What is still damaged afterwards cannot be restored here.
"""

import shutil
from contextlib import suppress
from pathlib import Path

from pipeline.config.sections import Experiment
from pipeline.core.errors import PipelineError
from pipeline.core.folder_seal import (
    close_seal,
    folder_faults,
    is_folder_sealed,
    mend_folder,
    rewriting,
    stated_digests,
)
from pipeline.core.layout import Layout
from pipeline.core.sealed import copy_bytes, file_digest
from pipeline.core.upgrades import read_model_file
from pipeline.datasets.prepare.id_list import read_id_list
from pipeline.datasets.store.images import ImageStore
from pipeline.operations.assign_batch import assigner, forget_assignments
from pipeline.operations.locks import batches_lock, publish_lock, repository_lock
from pipeline.operations.outputs import locked_files, output_faults, restore_output
from pipeline.operations.page import page_fault, refresh_page
from pipeline.operations.shard_faults import content_fault
from pipeline.operations.shards import draw_thumbnails, recover_shards, seal_shard
from pipeline.operations.stage_model import seal_model, stage_model
from pipeline.operations.tracked import mend_tracked
from pipeline.tables import History
from pipeline.tables.current import STAMP, current_fault
from pipeline.tables.inventory import mend_records
from pipeline.tables.restore import restore_batch_file, restore_model_file, restore_parts


def repair(layout: Layout, experiment: Experiment, wait_seconds: float = 0.0) -> None:
    """Mend what can be mended of an experiment.

    Args:
        layout: of the experiment.
        experiment: its parameters.
        wait_seconds: how long to wait for others.

    Raises:
        BusyError: another process changes outputs, batches or tables.
        ResourceError: the disk is full.
    """
    with repository_lock(layout.root, f"repair {layout.experiment}", wait_seconds):
        _mend_outputs(layout)
        _stage_again(layout, experiment)
    with batches_lock(layout, "repair", wait_seconds):
        recover_shards(layout)
        mend_tracked(layout)
        with publish_lock(layout, "repair"):
            history = History(layout.published)
            with suppress(PipelineError):
                history.recover()
            mend_records(layout.published)
            # Once more after the parts, which may be all that is left of what is kept with a model or a batch.
            for _ in range(2):
                _mend_models(layout)
                _mend_shards(layout)
                with suppress(PipelineError):
                    _mend_parts(layout)
            with suppress(PipelineError):
                history.mend_content()
            with suppress(PipelineError):
                if current_fault(layout.published):
                    (layout.published / STAMP).unlink(missing_ok=True)
                    history.write_current()
            with suppress(PipelineError):
                if page_fault(layout):
                    refresh_page(layout, force=True)


def _mend_outputs(layout: Layout) -> None:
    with suppress(PipelineError):
        known = locked_files(layout)
        for path in output_faults(known):
            restore_output(layout.root, path, known[path])


def _stage_again(layout: Layout, experiment: Experiment) -> None:
    """Take the files of a damaged model from the outputs of its stages, if those are of this model."""
    with suppress(PipelineError, KeyError, TypeError):
        staged = layout.published / "models" / read_model_file(layout.artifact("model"))["model_version"]
        if staged.is_dir() and (not is_folder_sealed(staged) or folder_faults(staged)):
            stage_model(layout, experiment)


def _mend_models(layout: Layout) -> None:
    for folder in sorted(layout.published.glob("models/m-*")):
        with suppress(PipelineError):
            if not is_folder_sealed(folder):
                seal_model(folder)
            close_seal(folder)
            mend_folder(folder)
            for name in folder_faults(folder):
                _mend_model_file(layout, folder, name)


def _mend_model_file(layout: Layout, folder: Path, name: str) -> None:
    source = _output(layout, name)
    if source.is_file() and file_digest(source) == stated_digests(folder).get(name):
        copy_bytes(source, folder / name)
    else:
        restore_model_file(layout.published, folder.name, name)


def _output(layout: Layout, name: str) -> Path:
    """Return where a stage left a file that is kept with a model."""
    first, _, rest = name.partition("/")
    if first == "prepared":
        return layout.prepared / rest
    return layout.artifact(first) / rest if rest else layout.artifact("model") / name


def _mend_shards(layout: Layout) -> None:
    for folder in sorted(layout.batches.glob("b-*")):
        with suppress(PipelineError):
            if not is_folder_sealed(folder):
                if content_fault(folder):
                    continue
                seal_shard(folder)
            close_seal(folder)
            mend_folder(folder)
            _mend_shard(layout, folder)


def _mend_shard(layout: Layout, folder: Path) -> None:
    faults = folder_faults(folder)
    ids = None
    if "shard.h5" not in faults:
        with ImageStore(folder / "shard.h5") as store:
            ids = store.image_ids()
    for name in faults:
        if name in ("images.parquet", "quarantine.parquet"):
            restore_batch_file(layout.published, folder, name, ids)
    pictures = [name for name in stated_digests(folder) if name.startswith("thumbnails/")]
    if "shard.h5" not in faults and not faults.keys().isdisjoint(pictures):
        with rewriting(folder, pictures):
            shutil.rmtree(folder / "thumbnails", ignore_errors=True)
            draw_thumbnails(folder, History(layout.published).model_folder())


def _mend_parts(layout: Layout) -> None:
    history, assign = History(layout.published), assigner(layout)

    def assign_again(batch_id: str, model_version: str) -> Path:
        forget_assignments(layout, model_version, [batch_id])  # kept ones may be damaged too
        return assign([batch_id], history.model_folder(model_version))[batch_id]

    restore_parts(layout.published, layout.batches, frozenset(read_id_list(layout.removed)), assign_again)
