"""``facets pull``."""

from dataclasses import asdict
from typing import Annotated

import typer

from pipeline.cli._shared import AsJson, ExperimentName, WaitSeconds, open_experiment, show, to_stderr
from pipeline.cli._sharing import Address, joined, located, megabytes

_Replace = Annotated[
    bool,
    typer.Option(
        "--replace", help="Take what is shared in place of versions published here that the others have not seen."
    ),
]


def pull(
    experiment: ExperimentName,
    address: Address = None,
    replace: _Replace = False,
    wait: WaitSeconds = 600.0,
    as_json: AsJson = False,
) -> None:
    """Publish here what is shared: tables, ids of clusters, models, ingested batches, removals.

    Only what is not here yet is fetched, every file is compared with its checksum, and readers see the old version
    until the new one is whole. Data and models of the stages come by dvc pull.

    \b
    Example:
        facets pull birds
        facets pull birds https://example.org/birds
    """
    from pipeline.operations.pull import pull

    layout, params = open_experiment(experiment)
    result = pull(layout, params, located(address), replace=replace, wait_seconds=wait)
    state = "pulled" if result.is_new else "here already"
    fetched = megabytes(result.fetched, result.n_bytes)
    text = f"{experiment}: version {result.version} {state} from {result.address}; {fetched} fetched"
    show(text + joined(result.added), asdict(result), as_json)
    for fault in result.faults:
        to_stderr(fault)
