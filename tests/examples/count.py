"""A new stage: this file in ``stages/`` and one entry in ``dvc.yaml``."""

from typing import Any

from pipeline.core.layout import Layout
from pipeline.core.storage import write_json
from pipeline.datasets.store.images import ImageStore
from pipeline.stages._entry import stage_main

SECTIONS = ("seeds",)


def run(layout: Layout, params: Any) -> None:
    """Count the training images, and the seeds that will see them."""
    with ImageStore(layout.prepared / "train.h5") as store:
        write_json(layout.artifact("count.json"), {"n_train": store.n_images, "n_seeds": len(params.seeds)})


if __name__ == "__main__":
    stage_main(run, SECTIONS)
