"""Small shards and a small model, written by hand."""

from pathlib import Path

import numpy as np
import torch

from pipeline.assignment import Shard
from pipeline.config.sections import AssignParams
from pipeline.core.storage import write_json
from pipeline.datasets.store.writer import write_store
from pipeline.model.checkpoint import model_version, save_weights, seed_state, weights_path
from tests.model.builders import SHAPE, SPEC, TINY, random_model
from tests.tables.builders import make_ids

PARAMS = AssignParams(assigner="exact", batch_size=5, responsibilities=False)


def write_model(folder: Path) -> Path:
    """Write a model folder with random weights."""
    from dataclasses import asdict

    folder.mkdir(parents=True)
    state = seed_state(random_model(dtype=torch.float32), 0)
    save_weights(weights_path(folder, 0), state)
    description = {
        "schema": 1,
        "model_version": model_version(state, TINY),
        "selected_seed": 0,
        "model": asdict(TINY),
        "image_shape": list(SHAPE),
        "seeds": [{"seed": 0}],
    }
    write_json(folder / "model.json", description)
    return folder


def write_shards(folder: Path, n_shards: int, n_images: int = 12) -> list[Shard]:
    """Write shards of random images; their assignments are to go into ``folder/assigned``."""
    rng = np.random.default_rng(0)
    shards = []
    for number in range(n_shards):
        path, batch_id = folder / f"{number}.h5", f"b-{number:012x}"
        with write_store(path, SPEC, source="test", split_rule="all") as writer:
            images = rng.integers(0, 256, (n_images, *SHAPE), dtype=np.uint8)
            writer.append(images, make_ids(n_images, number * n_images), np.full(n_images, batch_id, "S14"))
        shards.append(Shard(path, None, batch_id, ((0, n_images),), folder / "assigned" / batch_id))
    return shards


def read_files(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.parquet"))}
