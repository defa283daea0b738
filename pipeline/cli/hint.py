"""``facets hint``."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli._shared import AsJson, ExperimentName, open_experiment, show
from pipeline.core.errors import ConfigError
from pipeline.core.text import counted

if TYPE_CHECKING:
    from pipeline.operations.hint import HintResult

_Images = Annotated[
    list[str] | None,
    typer.Argument(metavar="[IMAGE…]", help="Files below the source, or image ids.", show_default=False),
]
_Facet = Annotated[int | None, typer.Option("--facet", "-j", help="The facet that the hint is about.")]
_As = Annotated[str | None, typer.Option("--as", metavar="LABEL", help="What the images are, in this facet.")]
_Same = Annotated[tuple[str, str] | None, typer.Option("--same", metavar="A B", help="These two are the same.")]
_Different = Annotated[
    tuple[str, str] | None, typer.Option("--different", metavar="A B", help="These two are different.")
]
_Column = Annotated[
    str | None, typer.Option("--from-labels", metavar="COLUMN", help="Take some labels of each class of a factor.")
]
_Number = Annotated[int, typer.Option("--n", min=2, help="Images a class, with --from-labels.")]
_Listed = Annotated[bool, typer.Option("--list", help="Show the hints, and what became of them.")]
_Undo = Annotated[bool, typer.Option("--undo", help="Take back what the last facets hint wrote.")]


def hint(
    experiment: ExperimentName,
    images: _Images = None,
    facet: _Facet = None,
    label: _As = None,
    same: _Same = None,
    different: _Different = None,
    from_labels: _Column = None,
    n: _Number = 10,
    listed: _Listed = False,
    undo: _Undo = False,
    as_json: AsJson = False,
) -> None:
    """Tell a facet what it is about: images of one label, two that are the same, two that are not.

    A label means nothing outside its facet, and names no cluster: images of one label are to share theirs, images of
    two labels are not. The next facets rebuild trains with it. Hints lie in hints/EXP.csv and hints/EXP_pairs.csv,
    which belong under version control and may be edited. See docs/hints.md.

    \b
    Example:
        facets hint birds --facet 1 --as perched a/001.jpg a/007.jpg b/012.jpg
        facets hint birds --facet 1 --as flying a/002.jpg c/040.jpg
        facets hint birds --facet 0 --different a/001.jpg b/012.jpg
        facets hint birds --facet 1 --from-labels species --n 5
        facets hint birds --list
        facets hint birds --undo
    """
    from pipeline.operations import hint as operation

    layout, sections = open_experiment(experiment)
    asked = {
        "--as": label is not None,
        "--same": same is not None,
        "--different": different is not None,
        "--from-labels": from_labels is not None,
        "--list": listed,
        "--undo": undo,
    }
    chosen = [name for name, is_asked in asked.items() if is_asked]
    if len(chosen) != 1:
        raise ConfigError(f"a hint needs one of {', '.join(asked)}, got {' and '.join(chosen) or 'none'}")
    if (label is None) != (not images):
        raise ConfigError("images are named with --as LABEL, and --as LABEL needs images; see facets hint --help")
    if listed:
        from pipeline.operations.hint_list import list_hints

        found = list_hints(layout)
        show(found.text, asdict(found), as_json)
        return
    if undo:
        result = operation.undo_hints(layout)
        show(_describe(experiment, "taken back", result), asdict(result), as_json)
        return
    if facet is None:
        raise ConfigError(f"a hint needs the facet that it is about, got none; add --facet to {chosen[0]}")
    if label is not None:
        result = operation.add_labels(layout, sections, facet, [(image, label) for image in images or ()])
    elif from_labels is not None:
        from pipeline.operations.hint_draw import draw_labelled

        result = operation.add_labels(layout, sections, facet, draw_labelled(layout, from_labels, n))
    else:
        two = same or different
        assert two is not None
        result = operation.add_pair(layout, sections, facet, two, is_same=same is not None)
    show(_describe(experiment, "written", result), asdict(result), as_json)


def _describe(experiment: str, done: str, result: "HintResult") -> str:
    n_lines = len(result.labels) + len(result.pairs)
    lines = [f"{experiment}: {counted(n_lines, 'hint')} {done}" + _known(result.n_known)]
    if done == "taken back":
        lines += [f"  facet {facet}: {image} as {label}" for image, facet, label in result.labels]
        lines += [
            f"  facet {facet}: {a} and {b} {'the same' if same == 'true' else 'different'}"
            for a, b, facet, same in result.pairs
        ]
    if result.n_test:
        lines.append(
            f"  {counted(result.n_test, 'image')} of the test split: no model trains with them, they tell how well "
            "hints were understood"
        )
        if result.pairs and done == "written":
            lines.append("  so this pair trains nothing; take images of batch_id train (docs/hints.md)")
    if result.advice:
        lines.append(f"note    {result.advice}")
    lines.append(f"next    {result.lacks}" if result.lacks else f"next    facets rebuild {experiment} trains with them")
    return "\n".join(lines)


def _known(n_known: int) -> str:
    return f", {n_known} known already" if n_known else ""
