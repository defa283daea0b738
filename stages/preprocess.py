"""Stage preprocess: from the source and the joined batches to ``data/prepared/<experiment>/``."""

from typing import Any

from pipeline.core.layout import Layout
from pipeline.datasets.prepare.build import prepare_images
from stages._entry import stage_main

SECTIONS = ("preprocess",)


def run(layout: Layout, params: Any) -> None:
    """Prepare the images of one experiment."""
    prepare_images(layout, params.preprocess)


if __name__ == "__main__":
    stage_main(run, SECTIONS)
