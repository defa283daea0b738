"""Assignments of one ingested batch by one published model, kept until they are published."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config import sections
from pipeline.config.parse import parse
from pipeline.layout import Layout
from pipeline.progress import progress
from pipeline.storage import read_json

if TYPE_CHECKING:
    from pipeline.datasets.transform import ImageTransform

AssignBatch = Callable[[str, Path], Path]
"""From a batch id and a model's folder to a folder with ``facet_<j>.parquet`` of that batch by that model."""


def assigner(layout: Layout) -> AssignBatch:
    """Return what assigns the shards of an experiment in this process.

    Finished assignments lie in ``.work`` and are found there again, so a run that was cut off goes on where it stopped.
    """

    def assign_batch(batch_id: str, model: Path) -> Path:
        folder = _folder(layout, model.name) / batch_id
        if not folder.exists():
            _assign(layout.batches / batch_id / "shard.h5", batch_id, model, folder)
        return folder

    return assign_batch


def forget_assignments(layout: Layout, model_version: str, batch_ids: list[str]) -> None:
    """Delete kept assignments of batches that are published now."""
    for batch_id in batch_ids:
        shutil.rmtree(_folder(layout, model_version) / batch_id, ignore_errors=True)


def model_params(model: Path) -> sections.Experiment:
    """Return the parameters that a published model was made with."""
    return parse(sections.Experiment, read_json(model / "params.json"), "params.json")


def model_transform(model: Path) -> "ImageTransform":
    """Return what brings images of any size to the shape that a published model takes."""
    from pipeline.datasets.transform import ImageTransform

    image_shape = tuple(read_json(model / "model.json")["image_shape"])
    return ImageTransform.for_model(model_params(model).preprocess, image_shape)


def _folder(layout: Layout, model_version: str) -> Path:
    return layout.work("assign", model_version)


def _assign(store: Path, batch_id: str, model: Path, folder: Path) -> None:
    # torch: only where there is something to assign.
    from pipeline.assignment import Shard, assign_shards
    from pipeline.datasets import ImageStore

    with ImageStore(store) as images:
        n_images = images.n_images
    shard = Shard(store, model_transform(model), batch_id, ((0, n_images),), folder)
    with progress(f"assign {batch_id}", n_images) as bar:
        assign_shards([shard], model, model_params(model).assign, None, bar.advance)
