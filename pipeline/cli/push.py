"""``facets push``."""

from dataclasses import asdict
from typing import Annotated

import typer

from pipeline.cli._shared import AsJson, ExperimentName, WaitSeconds, open_experiment, show, to_stderr
from pipeline.cli._sharing import Address, joined, located, megabytes

_Replace = Annotated[
    bool,
    typer.Option(
        "--replace",
        help="Overwrite what is shared: it is damaged or gone, or what is published here does not come from it.",
    ),
]


def push(
    experiment: ExperimentName,
    address: Address = None,
    replace: _Replace = False,
    wait: WaitSeconds = 600.0,
    as_json: AsJson = False,
) -> None:
    """Share what is published: tables, ids of clusters, models, ingested batches, removals.

    Only what is not there yet is sent, and others see it all at once, or nothing. One place publishes at a time: where
    somebody else has pushed what is not known here, nothing is overwritten. Data and models of the stages go by dvc
    push.

    \b
    Example:
        facets push birds s3://team/birds
        facets push birds
    """
    from pipeline.operations.push import push

    layout, params = open_experiment(experiment)
    result = push(layout, params, located(address), replace=replace, wait_seconds=wait)
    state = "shared" if result.is_new else "shared already"
    sent = megabytes(result.sent, result.n_bytes)
    text = f"{experiment}: version {result.version} {state} at {result.address}; {sent} sent"
    if result.deleted:
        text += f", {result.deleted} deleted there"
    show(text + joined(result.added), asdict(result), as_json)
    for fault in result.faults:
        to_stderr(fault)
    if not result.refuses_second:
        to_stderr(f"{result.address} cannot refuse somebody who pushes at the very same moment: let one at a time push")
