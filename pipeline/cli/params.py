"""``facets params``."""

from pipeline.cli._shared import AsJson, ExperimentName, find_root, show


def params(experiment: ExperimentName, as_json: AsJson = False) -> None:
    """Show every parameter of an experiment, and where it comes from: params.yaml, or a preset.

    What params.yaml has is changed there, or for one run by dvc exp run -S experiments.birds.train.batch_size=32; what
    comes from a preset takes a plus: -S +experiments.birds.train.decay=cosine.

    \b
    Example:
        facets params birds
    """
    from pipeline.cli._table import table_text
    from pipeline.config.load import parameter_origins
    from pipeline.config.write import flow_text

    found = list(parameter_origins(find_root(), experiment))
    rows = [[key, origin, flow_text(value)] for key, value, origin in found]
    text = table_text(["parameter", "from", "value"], [False, False, False], rows)
    show(text, [{"parameter": key, "value": value, "from": origin} for key, value, origin in found], as_json)
