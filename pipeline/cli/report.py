"""``facets report``."""

from typing import Annotated

import typer

from pipeline.cli._shared import AsJson, ExperimentName, open_experiment, show
from pipeline.core.errors import ResourceError

_Open = Annotated[bool, typer.Option("--open", help="Show the page in the browser.")]
_Paths = Annotated[
    bool | None,
    typer.Option(
        "--paths/--no-paths",
        help="Name files on the page, or no file and no folder, for a page that is sent to others; it stays so.",
    ),
]


def report(experiment: ExperimentName, open_page: _Open = False, paths: _Paths = None, as_json: AsJson = False) -> None:
    """Compose the page anew and say where it is.

    Publishing does it by itself; the page is one file that may be copied anywhere. It names the files of the images
    that it shows. After --no-paths it does not, nor does any page that is published later, until --paths.

    \b
    Example:
        facets report digits --open
        facets report digits --no-paths
    """
    import webbrowser

    from pipeline.operations.locks import publish_lock
    from pipeline.operations.page import refresh_page

    layout, _ = open_experiment(experiment)
    with publish_lock(layout, "report"):
        refresh_page(layout, force=True, names_files=paths)
    page = layout.published / "report.html"
    show(str(page), {"page": str(page)}, as_json)
    if open_page and not webbrowser.open(page.as_uri()):
        raise ResourceError(f"--open needs a browser on this machine, got none; open {page} elsewhere")
