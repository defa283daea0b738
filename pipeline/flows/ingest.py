"""Flow ``ingest``: one delivery of the inbox becomes rows, then moves to ``done/`` or ``rejected/``."""

import os
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed

from pipeline.config import load_params
from pipeline.core.errors import BusyError, DataError, PipelineError, ResourceError
from pipeline.core.layout import Layout
from pipeline.core.text import count_reasons, counted, printable, set_aside
from pipeline.flows.alert import send_alert
from pipeline.flows.artifacts import show_batch
from pipeline.flows.commands import CommandCrashed, LineLog, run_facets
from pipeline.flows.environment import repository_root
from pipeline.flows.outcome import HOOKS
from pipeline.flows.repository import own_root
from pipeline.operations.deliveries import (
    MOST_CRASHES,
    finish_delivery,
    may_be_delivery,
    naming,
    note_trouble,
    require_delivery,
)
from pipeline.operations.page import show_rejected

_READ = "read already, by another run"


def _may_pass(_task: Any, _run: Any, state: State) -> bool:
    error = state.result(raise_on_failure=False)
    return isinstance(error, BusyError | ResourceError) and not isinstance(error, CommandCrashed)


@task(cache_policy=NO_CACHE, persist_result=False, retries=3, retry_delay_seconds=20, retry_condition_fn=_may_pass)
def read_delivery(experiment: str, delivery: str) -> dict[str, Any]:
    """Add the images of a delivery to the tables."""
    root = repository_root()
    path = require_delivery(Layout(root, experiment), delivery)
    return run_facets(root, ["ingest", experiment, str(path)], LineLog(root, f"{experiment}-ingest"))


@flow(name="ingest", flow_run_name="ingest {experiment} {delivery}", persist_result=False, **HOOKS)
def ingest(experiment: str, delivery: str) -> State:
    """Take one delivery in.

    Args:
        experiment: its name.
        delivery: name of a folder or file in its inbox.
    """
    root = own_root()
    load_params(root).experiment(experiment)
    layout = Layout(root, experiment)
    if may_be_delivery(delivery) and not os.path.lexists(layout.inbox / delivery):
        return Completed(message=_READ)
    path = require_delivery(layout, delivery)
    try:
        result = read_delivery(experiment, delivery)
    except PipelineError as error:
        reasons = _reasons_to_reject(layout, path, error)
        if not reasons:
            raise
        return _reject(layout, path, reasons)
    return _finish(layout, path, result)


def _reasons_to_reject(layout: Layout, path: Path, error: PipelineError) -> list[str]:
    """Return why a delivery cannot be used; nothing where something else than the delivery is at fault."""
    if isinstance(error, DataError):
        return [str(error)]
    crashed = isinstance(error, CommandCrashed)
    trouble = note_trouble(layout, path, str(error), crashed=crashed)
    if crashed and trouble.crashes >= MOST_CRASHES:
        advice = "divide it, or look for the file that does so"
        return [f"reading it ended a process by force {counted(trouble.crashes, 'time')}; {advice}", str(error)]
    return []


def _reject(layout: Layout, path: Path, reasons: list[str]) -> State:
    if not os.path.lexists(path):
        return Completed(message=_READ)
    target = finish_delivery(layout, path, reasons)
    key = f"rejected {layout.experiment} {path.name}"
    why = naming(target, path, reasons[0])
    send_alert(layout.root, key, f"{layout.experiment}: {path.name!r} was rejected: {why}")
    try:
        show_rejected(layout)
    except PipelineError as error:  # the delivery is rejected all the same, and a later page shows it
        get_run_logger().warning("rejected, but not shown on the page: %s", error)
    return Completed(message=f"rejected, see {target.name}.reason.txt")


def _finish(layout: Layout, path: Path, result: dict[str, Any]) -> State:
    """Put a delivery away whose rows are in: what fails from here on must not make anybody believe otherwise."""
    if result["drifted"]:
        text = (
            f"{layout.experiment}: {path.name!r} drifts from what the model was trained on, batch {result['batch_id']}"
        )
        send_alert(layout.root, f"drift {layout.experiment} {result['batch_id']}", text)
    counts = f"{counted(result['n_images'], 'new image')}, {counted(result['duplicates'], 'duplicate')}"
    n_delivered = result["n_images"] + result["duplicates"] + len(result["quarantined"])
    aside = printable(set_aside(n_delivered, count_reasons(reason for _, reason in result["quarantined"])))
    done = f"{counts}, version {result['version']}; {aside}"
    try:
        finish_delivery(layout, path)
    except DataError:
        pass  # somebody else has moved it
    except ResourceError as error:
        note_trouble(layout, path, f"its images are in ({done}), but {error}")
        raise ResourceError(f"the images are in ({done}), but {error}") from error
    try:
        show_batch(layout, path.name, result)
    except Exception as error:  # noqa: BLE001 - the server may be away; the tables have what it would have shown
        get_run_logger().warning("the images are in, but not shown on Prefect's pages: %s", error)
    return Completed(message="; ".join([done, *result["faults"]]))
