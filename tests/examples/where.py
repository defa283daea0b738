"""A new command: this file in ``pipeline/cli/``, and nothing else."""

from pipeline.cli._shared import AsJson, ExperimentName, open_experiment, show


def where(experiment: ExperimentName, as_json: AsJson = False) -> None:
    """Show where the published tables of an experiment lie.

    \b
    Example:
        facets where digits
    """
    layout, _ = open_experiment(experiment)
    folder = str(layout.published.relative_to(layout.root))
    show(folder, {"published": folder}, as_json)
