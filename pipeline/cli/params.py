"""``facets params``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli._shared import AsJson, ExperimentName, find_root, show

_Key = Annotated[
    str | None,
    typer.Argument(metavar="KEY", help="A parameter or a section, e.g. train.decay.", show_default=False),
]


def params(experiment: ExperimentName, key: _Key = None, as_json: AsJson = False) -> None:
    """Show every parameter of an experiment, and where it comes from: params.yaml, or a preset.

    With KEY, what it means and which values it takes, too; of a section, all that is in it. What params.yaml has is
    changed there, or for one run by dvc exp run -S experiments.birds.train.batch_size=32; what comes from a preset
    takes a plus: -S +experiments.birds.train.decay=cosine.

    \b
    Example:
        facets params birds
        facets params birds train.decay
        facets params birds publish.gate
    """
    from pipeline.cli._table import table_text
    from pipeline.config.load import parameter_origins
    from pipeline.config.write import flow_text

    root = find_root()
    if key is not None:
        _explain(root, experiment, key, as_json)
        return
    found = list(parameter_origins(root, experiment))
    rows = [[key, origin, flow_text(value)] for key, value, origin in found]
    text = table_text(["parameter", "from", "value"], [False, False, False], rows)
    show(text, [{"parameter": key, "value": value, "from": origin} for key, value, origin in found], as_json)


def _explain(root: Path, experiment: str, key: str, as_json: bool) -> None:
    """Show meanings; sections, and the keys of entries of lists, have no value of their own."""
    from pipeline.config.load import parameter_origins
    from pipeline.config.reference import meanings_at
    from pipeline.config.write import flow_text

    values = {name: {"value": value, "from": origin} for name, value, origin in parameter_origins(root, experiment)}
    lines: list[str] = []
    shown: list[dict[str, Any]] = []
    for one in meanings_at(key):
        own = values.get(one.key, {})
        shown.append({"parameter": one.key, **own, "meaning": one.meaning, "legal": one.legal})
        lines += [f"{one.key}: {one.meaning}", f"    legal: {one.legal}"]
        lines += [f"    value: {flow_text(own['value'])} ({own['from']})"] if own else []
    show("\n".join(lines), shown, as_json)
