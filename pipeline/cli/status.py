"""``facets status``."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli._shared import AsJson, find_root, show
from pipeline.core.errors import ResourceError
from pipeline.core.text import counted, set_aside

if TYPE_CHECKING:
    from pipeline.flows.health import ServiceStatus
    from pipeline.operations.status import ExperimentStatus

_Experiments = Annotated[
    list[str] | None,
    typer.Argument(metavar="EXP", help="Experiments; all active ones if none is named.", show_default=False),
]

_MOST_REJECTED = 5


def status(experiments: _Experiments = None, as_json: AsJson = False) -> None:
    """Show what is stale, published and stored, and how the service is.

    For each stage why it would run, the version that readers see, why a newer model was refused, the batches, the size
    of each folder, and for each scheduled flow its last and next run, from the Prefect server. Exit code 7 where the
    service is not healthy.

    \b
    Example:
        facets status digits
    """
    from pipeline.config import load_params
    from pipeline.flows.health import service_status
    from pipeline.operations.status import experiment_status

    root = find_root()
    params = load_params(root)
    found = [experiment_status(root, params, name) for name in experiments or params.active]
    service = service_status(root)
    facts = {"says": service.says, "faults": service.faults}
    values = [asdict(state) | {"schedules": _schedules(state, service), "service": facts} for state in found]
    said: set[str] = set()
    texts = ["\n".join([_describe(state, said), *_describe_schedules(_schedules(state, service))]) for state in found]
    show("\n\n".join([*texts, f"service: {service.says}"]), values, as_json)
    if service.faults:
        raise ResourceError(f"the service must be healthy, but: {'; '.join(service.faults)}; see deploy/runbook.md")


def _schedules(state: "ExperimentStatus", service: "ServiceStatus") -> list[dict[str, Any]]:
    return [each for each in service.schedules if each["experiment"] == state.experiment]


def _describe_schedules(schedules: list[dict[str, Any]]) -> list[str]:
    lines: list[str] = []
    for each in schedules:
        last = f"last {each['last']['started']} ({each['last']['state']})" if each["last"] else "has not run yet"
        then = "paused" if each["is_paused"] else f"next {each['next']}" if each["next"] else "next not planned"
        lines.append(f"  {each['flow']:<10} {each['when']}: {last}, {then}")
    return lines


def _describe(state: "ExperimentStatus", said: set[str]) -> str:
    """Return what people read of an experiment; a note that was said of another one is not repeated."""
    lines = [f"{state.experiment}: {_published(state)}"]
    lines += [f"  {stage:<10} {'' if what == 'fresh' else 'stale: '}{what}" for stage, what in state.stages.items()]
    if state.note:
        lines.append(f"  stages     {'as above' if state.note in said else state.note}")
        said.add(state.note)
    lines += [f"  facet {facet}    {told}" for facet, told in enumerate(state.help) if told is not None]
    if state.refused:
        lines.append(
            f"  model      last one refused: {state.refused['model_version']}: {'; '.join(state.refused['reasons'])}"
        )
    told = "what is set aside is not counted yet: facets rebuild does" if state.account is None else state.account.text
    lines.append(f"  source     {told}")
    for batch in state.batches:
        facts = f"{counted(batch['n_images'], state.noun)}, {batch['status']}"
        n_delivered = batch["n_images"] + batch["duplicates"] + batch["quarantined"]
        reasons = state.quarantine.get(batch["batch_id"], {})
        aside = f"; {set_aside(n_delivered, reasons)}" if reasons and batch["status"] != "source" else ""
        lines.append(f"  batch      {batch['batch_id']}: {facts}{aside}")
    if state.left:
        lines.append(f"  waiting    {state.left}")
    lines += [f"  rejected   {one.name}: {one.reason}" for one in state.rejected[:_MOST_REJECTED]]
    if len(state.rejected) > _MOST_REJECTED:
        lines.append(f"  rejected   {len(state.rejected):,} deliveries in all; --json lists them")
    lines += [f"  disk       {folder}: {size} MiB" for folder, size in state.mebibytes.items()]
    return "\n".join(lines)


def _published(state: "ExperimentStatus") -> str:
    if state.published is None:
        return "nothing is published yet"
    facts = state.published
    return (
        f"version {facts['version']} ({facts['reason']} at {facts['created']}), model {facts['model_version']}, "
        f"{counted(facts['n_images'], state.noun)}"
    )
