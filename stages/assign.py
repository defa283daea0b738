"""Stage assign: which cluster of every facet each prepared image belongs to."""

from typing import Any

from pipeline.assignment import assign_shards, shards_of_store
from pipeline.core.layout import Layout
from pipeline.core.progress import progress
from pipeline.core.storage import atomic_dir
from pipeline.stages._entry import stage_main

SECTIONS = ("assign",)


def run(layout: Layout, params: Any) -> None:
    """Read the selected model and both splits, write ``assignments/<batch_id>/facet_<j>.parquet``."""
    stores = [layout.prepared / f"{split}.h5" for split in ("train", "test")]
    with atomic_dir(layout.artifact("assignments")) as folder:
        shards = [shard for store in stores for shard in shards_of_store(store, folder)]
        with progress(f"assign {layout.experiment}", sum(shard.n_images for shard in shards)) as bar:
            assign_shards(shards, layout.artifact("model"), params.assign, None, bar.advance)


if __name__ == "__main__":
    stage_main(run, SECTIONS)
