"""``facets ask``."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli._shared import AsJson, ExperimentName, open_experiment, show
from pipeline.core.errors import ConfigError

_Facet = Annotated[
    int | None, typer.Option("--facet", metavar="J", help="What the questions are about.", show_default=False)
]
_Images = Annotated[int, typer.Option("-n", "--images", min=1, help="Images to ask about.")]
_To = Annotated[
    Path | None,
    typer.Option("--to", metavar="FOLDER", help="Where both files go; ask/EXP/ if none is named.", show_default=False),
]
_Read = Annotated[
    Path | None,
    typer.Option("--read", metavar="FILE", help="Add the answers of a form to hints/EXP.csv.", show_default=False),
]


def ask(
    experiment: ExperimentName,
    facet: _Facet = None,
    images: _Images = 20,
    to: _To = None,
    read: _Read = None,
    as_json: AsJson = False,
) -> None:
    """Choose the images whose label would tell most about a facet, and ask you for it.

    Writes a form, a CSV with an empty column label, and a contact sheet with the pictures. Images are chosen where the
    trained models are in doubt or contradict each other, all over the collection; those with a hint in this facet are
    not asked about again. Fill in the form, add it with --read, and rebuild: then the facet is about your words.

    \b
    Example:
        facets ask birds --facet 1 -n 20
        facets ask birds --read ask/birds/facet_1.csv
        facets rebuild birds
    """
    from pipeline.core.text import counted
    from pipeline.operations.ask import add_answers
    from pipeline.operations.ask import ask as ask_about

    layout, params = open_experiment(experiment)
    if (facet is None) == (read is None):
        raise ConfigError("facets ask needs --facet to ask or --read to take answers, one of the two")
    if read is not None:
        n_new = add_answers(layout, params, read)
        text = f"{experiment}: {counted(n_new, 'new hint')} in {layout.hints}"
        show(f"{text}\nnext    facets rebuild {experiment}", {"hints": str(layout.hints), "new": n_new}, as_json)
        return
    assert facet is not None
    found = ask_about(layout, params, facet, images, to)
    models = counted(len(found.seeds), "model")
    lines = [
        f"{experiment}: {counted(len(found.images), 'image')} to ask about in facet {facet}, by {models}; "
        f"{counted(found.n_hinted, 'image')} with a hint before",
        f"look    {found.sheet}",
        f"fill in {found.form}",
        f"next    facets ask {experiment} --read {found.form}",
    ]
    value = {
        "form": str(found.form),
        "sheet": str(found.sheet),
        "images": list(found.images),
        "hinted": found.n_hinted,
        "seeds": list(found.seeds),
    }
    show("\n".join(lines), value, as_json)
