"""``facets report``."""

from pipeline.cli._shared import AsJson, ExperimentName, open_experiment, show


def report(experiment: ExperimentName, as_json: AsJson = False) -> None:
    """Compose the page anew and say where it is.

    For example after clusters were named; publishing does it by itself.

    \b
    Example:
        facets report digits
    """
    from pipeline.operations.locks import publish_lock
    from pipeline.operations.page import refresh_page

    layout, _ = open_experiment(experiment)
    with publish_lock(layout, "report"):
        refresh_page(layout, force=True)
    page = layout.published / "report.html"
    show(str(page), {"page": str(page)}, as_json)
