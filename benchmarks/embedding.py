"""How fast image files become features, beside the backbone alone on pictures that are decoded already.

Both sides have the same threads in the same process; ours has decoding processes beside it. The second line tells why
processors compute features in float32.
"""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.ingest import make_files
from benchmarks.lines import Line, compare, report
from benchmarks.machine import peak_mib
from pipeline.backbones.efficientnet_lite0 import EfficientNetLite0
from pipeline.config import load_params
from pipeline.config.sections import FeatureParams
from pipeline.core.image_ids import ContentSet
from pipeline.core.layout import Layout
from pipeline.datasets.delivery.delivery import open_delivery
from pipeline.datasets.delivery.shard import write_shard
from pipeline.datasets.inputs.embedded import Embedded

_BATCH = 32
_NOTHING = ContentSet.of_ids([])


def measure(full: bool) -> list[Line]:
    """Time photographs of two sizes; without ``full`` small ones, and fewer."""
    backbone = EfficientNetLite0("", None)
    sides, n_files, rounds = ((227, 1000), 512, 5) if full else ((227,), 128, 3)
    lines = [*(_case(backbone, side, n_files, rounds) for side in sides), _precision(backbone, rounds)]
    return [
        replace(line, more={**line.more, "peak_mib": peak_mib(), "threads": torch.get_num_threads()}) for line in lines
    ]


def _case(backbone: EfficientNetLite0, side: int, n_files: int, rounds: int) -> Line:
    plain = load_params(Path(__file__).parents[1]).experiments["digits"].preprocess
    params = replace(plain, features=FeatureParams("efficientnet_lite0", None, _BATCH), size=(64, 64))
    taker = Embedded(params, backbone)
    pictures = np.random.default_rng(0).integers(0, 256, (_BATCH, 3, *backbone.image_size), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root, "in")
        make_files(folder, "JPEG", side, n_files)

        def embed_files() -> None:
            with tempfile.TemporaryDirectory(dir=root) as repository:
                layout = Layout(Path(repository), "timing")
                delivery = open_delivery(layout, plain, str(folder), 0, taker.transform)
                write_shard(layout, delivery, taker, known=_NOTHING, removed=_NOTHING, created="2026-01-01T00:00:00")

        def embed_alone() -> None:
            for _ in range(0, n_files, _BATCH):
                backbone.embed(pictures)

        name = f"JPEG {side}, files to features in a shard"
        return compare(name, embed_files, embed_alone, "the backbone alone", rounds=rounds, items=n_files)


def _precision(backbone: EfficientNetLite0, rounds: int) -> Line:
    network: Any = EfficientNetLite0("", None)
    network._network = network._network.bfloat16()
    network._precision = torch.bfloat16
    pictures = np.random.default_rng(0).integers(0, 256, (_BATCH, 3, *backbone.image_size), dtype=np.uint8)
    name = "EfficientNet-Lite0 in bfloat16"
    return compare(
        name, lambda: network.embed(pictures), lambda: backbone.embed(pictures), "float32", rounds=rounds, items=_BATCH
    )


if __name__ == "__main__":
    report(measure)
