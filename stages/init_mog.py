"""Stage init_mog: the initial networks and the mixtures fitted on their latents."""

from typing import Any

import sklearn.cluster  # noqa: F401 - what fits load anyway: once, before the stage server forks this stage and later ones

from pipeline.core.layout import Layout
from pipeline.stages._entry import stage_main
from pipeline.training import initialise

SECTIONS = ("seeds", "model", "init_mog", "train.device")


def run(layout: Layout, params: Any) -> None:
    """Read the training split, write ``init/``."""
    initialise(layout, params.seeds, params.model, params.init_mog, params.train.device)


if __name__ == "__main__":
    stage_main(run, SECTIONS)
