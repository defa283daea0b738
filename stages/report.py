"""Stage report: sprites, generated samples, swaps and maps; everything on the page that needs the model."""

from typing import Any

from pipeline.core.layout import Layout
from pipeline.model import load_model
from pipeline.report import build_showcase, open_corpus, write_assets
from pipeline.stages._entry import stage_main

SECTIONS = ("seeds", "report")


def run(layout: Layout, params: Any) -> None:
    """Read the selected model, the prepared splits and their assignments, write ``artifacts/<exp>/report``."""
    model = load_model(layout.artifact("model"))
    with open_corpus(layout.prepared, layout.artifact("assignments"), model.n_facets) as corpus:
        showcase = build_showcase(model, corpus, params.report, params.seeds[0], layout.experiment)
    write_assets(layout.artifact("report"), showcase, params.report.sprite_size)


if __name__ == "__main__":
    stage_main(run, SECTIONS)
