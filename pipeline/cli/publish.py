"""``facets publish``."""

from typing import Annotated

import typer

from pipeline.cli._shared import AsJson, ExperimentName, WaitSeconds, open_experiment, show

_Version = Annotated[
    int | None,
    typer.Option(
        "--version",
        help="Put the model of this version back in service instead; the images stay those of today.",
        show_default=False,
    ),
]


def publish(
    experiment: ExperimentName, version: _Version = None, wait: WaitSeconds = 600.0, as_json: AsJson = False
) -> None:
    """Publish the rebuilt model, or an old one again.

    A new model must be healthy. Going back makes a new version, which covers every image of today; what was removed
    stays removed.

    \b
    Example:
        facets publish digits
        facets publish digits --version 3
    """
    from pipeline.operations.publish import publish, rollback

    layout, params = open_experiment(experiment)
    if version is None:
        served, is_new = publish(layout, params, wait_seconds=wait)
    else:
        served, is_new = rollback(layout, params, version)
    state = "published" if is_new else "in service already"
    if version is not None:
        state += f", with the model of version {version}; --version changes the model alone: every batch stays in"
    show(f"{experiment}: version {served} {state}", {"version": served, "is_new": is_new}, as_json)
