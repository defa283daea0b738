"""A prepared split without labels: training has no use for them."""

import numpy as np

from pipeline.datasets.store.writer import write_store
from tests.model.builders import SPEC
from tests.training.builders import uint8_images


def prepare(layout, n=60):
    with write_store(layout.prepared / "train.h5", SPEC, source="test", split_rule="none") as writer:
        batches = np.where(np.arange(n) < n // 2, "train", "b-0123456789ab")
        writer.append(uint8_images(n).numpy(), np.array([f"i-{i:016x}" for i in range(n)]), batches)
