"""Stage train: progressive training of every seed and the label-free selection."""

from typing import Any

from pipeline.core.layout import Layout
from pipeline.stages._entry import stage_main
from pipeline.training import train

SECTIONS = ("seeds", "model", "train")


def run(layout: Layout, params: Any) -> None:
    """Read the training split and ``init/``, write ``model/``."""
    train(layout, params.seeds, params.model, params.train)


if __name__ == "__main__":
    stage_main(run, SECTIONS)
