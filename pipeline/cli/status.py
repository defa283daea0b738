"""``facets status``."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli._shared import AsJson, find_root, show

if TYPE_CHECKING:
    from pipeline.operations.status import ExperimentStatus

_Experiments = Annotated[
    list[str] | None,
    typer.Argument(metavar="EXP", help="Experiments; all active ones if none is named.", show_default=False),
]


def status(experiments: _Experiments = None, as_json: AsJson = False) -> None:
    """Show what is stale, published and stored.

    For each stage why it would run, the version that readers see, the batches, and the size of each folder.

    \b
    Example:
        facets status digits
    """
    from pipeline.config import load_params
    from pipeline.operations.status import experiment_status

    root = find_root()
    params = load_params(root)
    found = [experiment_status(root, params, name) for name in experiments or params.active]
    show("\n\n".join(map(_describe, found)), [asdict(state) for state in found], as_json)


def _describe(state: "ExperimentStatus") -> str:
    lines = [f"{state.experiment}: {_published(state)}"]
    lines += [f"  {stage:<10} {'' if what == 'fresh' else 'stale: '}{what}" for stage, what in state.stages.items()]
    if state.note:
        lines.append(f"  stages     {state.note}")
    for batch in state.batches:
        facts = f"{batch['n_images']} images, {batch['quarantined']} quarantined, {batch['status']}"
        lines.append(f"  batch      {batch['batch_id']}: {facts}")
    lines += [f"  disk       {folder}: {size} MiB" for folder, size in state.mebibytes.items()]
    return "\n".join(lines)


def _published(state: "ExperimentStatus") -> str:
    if state.published is None:
        return "nothing is published yet"
    facts = state.published
    return (
        f"version {facts['version']} ({facts['reason']} at {facts['created']}), model {facts['model_version']}, "
        f"{facts['n_images']} images"
    )
