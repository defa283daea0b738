"""Prepared splits without labels: training has no use for them."""

import numpy as np

from pipeline.datasets.store.writer import write_store
from tests.model.builders import SPEC
from tests.training.builders import uint8_images


def prepare(layout, n=60):
    for split in ("train", "test"):
        prepare_split(layout, split, uint8_images(n))


def prepare_split(layout, split, images):
    n = len(images)
    with write_store(layout.prepared / f"{split}.h5", SPEC, source="test", split_rule="none") as writer:
        batches = np.where(np.arange(n) < n // 2, split, "b-0123456789ab")
        writer.append(images.numpy(), np.array([f"i-{i:016x}" for i in range(n)]), batches)
