"""``facets rebuild``."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli._shared import AsJson, WaitSeconds, find_root, own_name, show, to_stderr

if TYPE_CHECKING:
    from pipeline.operations.rebuild import RebuildResult

_ActiveOnly = Annotated[
    list[str] | None,
    typer.Argument(metavar="EXP", help="Experiments; all active ones if none is named.", show_default=False),
]
_NewHistory = Annotated[
    bool,
    typer.Option(
        "--new-history", help="Publish anew, with other cluster ids, what was published elsewhere and is not here."
    ),
]
_RetryMinutes = Annotated[
    float,
    typer.Option(
        min=0.0,
        help="Where an experiment of your own images, never published yet, does not train: how long to try other "
        "settings, of which the first that trains is written to params.yaml. 0 tries none.",
    ),
]


def rebuild(
    experiments: _ActiveOnly = None,
    new_history: _NewHistory = False,
    retry_minutes: _RetryMinutes = 10.0,
    wait: WaitSeconds = 600.0,
    as_json: AsJson = False,
) -> None:
    """Bring experiments up to date.

    Scans the source, runs the stages that are stale and publishes the model if it is healthy. What DVC and the stages
    print goes to standard error; all of it is kept in .work/logs/.

    \b
    Example:
        facets rebuild digits
    """
    from pipeline.config import load_params
    from pipeline.operations.rebuild import rebuild

    root = find_root()
    names = experiments or list(load_params(root).active)
    results = [
        rebuild(root, name, wait, on_line=to_stderr, new_history=new_history, retry_seconds=60 * retry_minutes)
        for name in names
    ]
    show("\n\n".join(map(_describe, results)), [asdict(result) for result in results], as_json)


def _describe(result: "RebuildResult") -> str:
    name = result.experiment
    ran = [
        f"  {run.stage}: {run.action} in {run.seconds:.0f} s, because {run.reason}"
        for run in result.stages
        if run.reason
    ]
    stages = ["stages", *ran] if ran else ["stages  nothing is stale, none ran"]
    state = "published" if result.is_new else "was published already"
    return "\n".join(
        [
            f"{name}: version {result.version} of model {result.model_version} {state} ({result.seconds:.0f} s)",
            *(f"changed {change}" for change in result.changes),
            *stages,
            *([] if result.account is None else [f"source  {result.account.text}"]),
            f"tables  published/{name}/ (in Python: pipeline.tables.read({name!r}, 'facet_0'))",
            f"page    published/{name}/report.html",
            f"query   {own_name()} query {name} "
            '"select cluster_uid, count(*) as n, avg(confidence) as confidence '
            'from facet_0 group by 1 order by 2 desc limit 5"',
        ]
    )
