"""Stage preprocess: from the source and the joined batches to ``data/prepared/<experiment>/``."""

import sys
from typing import Any

from pipeline.core.layout import Layout
from pipeline.core.text import printable
from pipeline.datasets.prepare.build import prepare_images
from pipeline.stages._entry import stage_main

SECTIONS = ("preprocess",)


def run(layout: Layout, params: Any) -> None:
    """Prepare the images of one experiment."""
    account = prepare_images(layout, params.preprocess, lambda line: _tell(layout, line))
    _tell(layout, account.text)


def _tell(layout: Layout, line: str) -> None:
    print(printable(f"{layout.experiment}: {line}"), file=sys.stderr, flush=True)


if __name__ == "__main__":
    stage_main(run, SECTIONS)
