"""Stage resolve: every parameter of the experiment, those of its preset filled in, for the other stages and for DVC."""

import os
from typing import Any

from pipeline.config.load import require_spelled_out
from pipeline.config.resolved import write_resolved
from pipeline.core.layout import Layout
from pipeline.stages._entry import stage_main

SECTIONS = ()


def run(layout: Layout, _params: Any) -> None:
    """Read ``params.yaml`` and presets, write ``artifacts/<exp>/params.json``."""
    if "DVC_EXP_BASELINE_REV" in os.environ:  # set by dvc exp run
        require_spelled_out(layout.root)
    write_resolved(layout)


if __name__ == "__main__":
    stage_main(run, SECTIONS)
