"""``facets scan``."""

from pipeline.cli._shared import AsJson, ExperimentName, open_experiment, show


def scan(experiment: ExperimentName, as_json: AsJson = False) -> None:
    """Pin the content of the source as it is now.

    It is kept in data/sources/EXP.json. Hashes are remembered by size and time of change: a second scan is quick.

    \b
    Example:
        facets scan digits
    """
    from pipeline.operations.scan import scan_source

    layout, params = open_experiment(experiment)
    result = scan_source(layout, params.preprocess)
    facts = ", ".join(f"{key} {value}" for key, value in result.pinned.items())
    state = "changed" if result.has_changed else "unchanged"
    show(f"{experiment}: {state}; {facts}", {"changed": result.has_changed, **result.pinned}, as_json)
