"""Stage score: how the clusters of every healthy seed agree with labels, beside clusterings of raw pixels."""

from typing import Any

from pipeline.core.layout import Layout
from pipeline.core.storage import atomic_dir
from pipeline.evaluation import score_models, write_score
from pipeline.stages._entry import stage_main

SECTIONS = ("score",)


def run(layout: Layout, params: Any) -> None:
    """Read the model and the prepared splits, write ``artifacts/<exp>/score``."""
    score = score_models(layout.artifact("model"), layout.prepared, params.score)
    with atomic_dir(layout.artifact("score")) as folder:
        write_score(score, folder)


if __name__ == "__main__":
    stage_main(run, SECTIONS)
