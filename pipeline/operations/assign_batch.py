"""Assignments of ingested batches by one published model, kept until they are published."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from pipeline.config.parse import parse
from pipeline.config.sections import Experiment
from pipeline.core.errors import DataError
from pipeline.core.folder_seal import require_sealed
from pipeline.core.layout import Layout
from pipeline.core.progress import progress
from pipeline.core.upgrades import PARAMETERS, read_model_file, read_record
from pipeline.operations.executors import open_executor

if TYPE_CHECKING:
    from pipeline.datasets.decoding.transform import ImageTransform

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


def model_section(model: Path, name: str) -> Any:
    """Return one section of the parameters that a published model was made with, in the form of today.

    Raises:
        ConfigError: this section is missing or has other keys.
        ResourceError: a newer release published the model.
    """
    require_sealed(model, ["params.json"])
    section = read_record(model / "params.json", PARAMETERS).get(name)
    return parse(get_type_hints(Experiment)[name], section, f"{model.name}/params.json: {name}")


def model_transform(model: Path) -> "ImageTransform":
    """Return what brings images of any size to the shape that a published model takes.

    Raises:
        DataError: the model takes no images.
    """
    from pipeline.datasets.decoding.transform import ImageTransform
    from pipeline.datasets.store.spec import read_spec

    require_sealed(model, ["model.json"])
    spec = read_spec(read_model_file(model)["input"])
    if spec.kind != "pixels":
        raise DataError(f"a delivery of images needs a model of pixels, but {model.name} takes {spec}")
    return ImageTransform.for_model(model_section(model, "preprocess"), spec.shape)


def _folder(layout: Layout, model_version: str) -> Path:
    return layout.work("assign", model_version)


def _assign(layout: Layout, folders: dict[str, Path], model: Path, cluster: str | None) -> None:
    # torch: only where there is something to assign.
    from pipeline.assignment import Shard, assign_shards
    from pipeline.datasets.store.images import ImageStore

    transform = model_transform(model)
    shards = []
    for batch_id, folder in folders.items():
        path = layout.batches / batch_id / "shard.h5"
        require_sealed(path.parent, [path.name])
        with ImageStore(path) as images:
            shards.append(Shard(path, transform, batch_id, ((0, images.n_images),), folder))
    n_images = sum(shard.n_images for shard in shards)
    what = next(iter(folders)) if len(folders) == 1 else f"{len(folders)} batches"
    with progress(f"assign {what}", n_images) as bar, open_executor(cluster, len(shards), n_images) as executor:
        assign_shards(shards, model, model_section(model, "assign"), executor, bar.advance)
