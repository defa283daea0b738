"""Assignments of ingested batches by one published model, kept until they are published."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.core.errors import DataError
from pipeline.core.folder_seal import require_sealed
from pipeline.core.layout import Layout
from pipeline.core.progress import progress
from pipeline.datasets.delivery.preparation import model_section, model_spec, stored_transform
from pipeline.operations.executors import open_executor

AssignBatches = Callable[[Sequence[str], Path], dict[str, Path]]
"""From batch ids and a model's folder to each batch's folder with its ``facet_<j>.parquet`` by that model."""


def assigner(layout: Layout, cluster: str | None = None) -> AssignBatches:
    """Return what assigns the shards of an experiment.

    Finished assignments lie in ``.work`` and are found there again, so a run that was cut off goes on where it stopped,
    shard by shard.

    Args:
        layout: of the experiment.
        cluster: address of a Dask scheduler whose workers see the same files; None works on this machine.
    """

    def assign_batches(batch_ids: Sequence[str], model: Path) -> dict[str, Path]:
        folders = {batch_id: _folder(layout, model.name) / batch_id for batch_id in batch_ids}
        missing = {batch_id: folder for batch_id, folder in folders.items() if not folder.exists()}
        if missing:
            _assign(layout, missing, model, cluster)
        return folders

    return assign_batches


def forget_assignments(layout: Layout, model_version: str, batch_ids: list[str]) -> None:
    """Delete kept assignments of batches that are published now."""
    for batch_id in batch_ids:
        shutil.rmtree(_folder(layout, model_version) / batch_id, ignore_errors=True)


def forget_assignments_of(layout: Layout, batch_id: str) -> None:
    """Delete kept assignments of a batch by any model: its shard holds other images, or calls them otherwise, now."""
    for kept in layout.work("assign", "").parent.glob(f"assign-*/{batch_id}"):
        shutil.rmtree(kept)


def _folder(layout: Layout, model_version: str) -> Path:
    return layout.work("assign", model_version)


def _assign(layout: Layout, folders: dict[str, Path], model: Path, cluster: str | None) -> None:
    # torch: only where there is something to assign.
    from pipeline.assignment import Shard, assign_shards
    from pipeline.datasets.store.images import ImageStore

    transform, spec = stored_transform(model), model_spec(model)
    shards = []
    for batch_id, folder in folders.items():
        path = layout.batches / batch_id / "shard.h5"
        require_sealed(path.parent, [path.name])
        with ImageStore(path) as images:
            if transform is None and images.spec != spec:
                raise DataError(
                    f"{path} must hold {spec}, as {model.name} takes, got {images.spec}; remove the batch and deliver "
                    "it again"
                )
            shards.append(Shard(path, transform, batch_id, ((0, images.n_images),), folder))
    n_images = sum(shard.n_images for shard in shards)
    what = next(iter(folders)) if len(folders) == 1 else f"{len(folders)} batches"
    with progress(f"assign {what}", n_images) as bar, open_executor(cluster, len(shards), n_images) as executor:
        assign_shards(shards, model, model_section(model, "assign"), executor, bar.advance)
