"""``facets views``."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli._shared import AsJson, ExperimentName, open_experiment, show

_To = Annotated[
    Path | None, typer.Option("--to", help="PNG file to write; views-EXP.png otherwise.", show_default=False)
]


def views(experiment: ExperimentName, to: _To = None, as_json: AsJson = False) -> None:
    """Draw what facets are trained not to see, as a picture of views.

    Each row shows an image, then views of it as training draws them, for every facet that train.ignores has an entry
    for. Look at it before you train: what you could not recognise either, a facet cannot.

    \b
    Example:
        facets views digits --to views.png
    """
    from pipeline.operations.views import draw_views

    layout, params = open_experiment(experiment)
    path = to or Path(f"views-{experiment}.png")
    ignored = draw_views(layout, params.train, path)
    lines = [f"facet {facet} is trained not to see: {'; '.join(words)}" for facet, words in ignored.items()]
    show("\n".join([*lines, str(path)]), {"views": str(path), "ignored": ignored}, as_json)
