"""Schedules that nobody helps: the locked server plans runs, the service executes them; and what else it relies on."""

import asyncio
import json
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import psutil
import pytest

from benchmarks.machine import describe_machine
from pipeline.flows.access import read_secret
from tests.flows.service import Service, wait_until
from tests.repository import EXPERIMENT, PROJECT

pytestmark = pytest.mark.xdist_group("service")

SCHEDULED = ("rebuild", "retrain")


def deployment(service: Service, flow: str) -> dict[str, Any]:
    """Return what Prefect knows about a flow's deployment."""
    return service.read(f"/deployments/name/{flow}/{service.deployment_name}")


def completed(service: Service, flow: str) -> set[str]:
    """Return the ids of the runs of a flow that a schedule asked for and that have ended well."""
    return {run["id"] for run in service.runs(flow) if run["auto_scheduled"] and run["state_type"] == "COMPLETED"}


@pytest.mark.no_cover  # it happens in other processes
@pytest.mark.timeout(0)  # every wait in it has a limit of its own
def test_schedules_start_runs(service: Service) -> None:
    """An interval and a cron expression in seconds, which params.yaml has not: so they are added on the server."""
    flows = {flow: deployment(service, flow) for flow in SCHEDULED}
    before = {flow: completed(service, flow) for flow in flows}
    added = {
        "rebuild": service.add_schedules(flows["rebuild"], {"interval": 10}),
        "retrain": service.add_schedules(flows["retrain"], {"cron": "* * * * * */10"}),
    }
    try:
        wait_until(lambda: all(len(completed(service, flow) - before[flow]) >= 2 for flow in flows), 600)
    finally:
        for flow, ids in added.items():
            service.delete_schedules(flows[flow], ids)


@pytest.mark.no_cover  # it happens in other processes
@pytest.mark.timeout(0)  # every wait in it has a limit of its own
def test_the_server_marks_late_runs_forgets_old_ones_and_ends_tasks_of_cancelled_ones(service: Service) -> None:
    """The background services besides the scheduler that the runbook relies on; of automations nothing is used."""
    flow_id = service.ask("/flows/", name="nobody executes it")["id"]
    schedules = [{"schedule": {"interval": 30, "anchor_date": (datetime.now(UTC) + timedelta(seconds=8)).isoformat()}}]
    nobody = service.ask("/deployments/", name="nobody", flow_id=flow_id, schedules=schedules)
    try:
        old, cancelled = (service.ask("/flow_runs/", flow_id=flow_id)["id"] for _ in range(2))
        task = service.ask("/task_runs/", flow_run_id=cancelled, task_key="task", dynamic_key="1")["id"]
        for path, state in (
            (f"/flow_runs/{old}", "COMPLETED"),
            (f"/task_runs/{task}", "RUNNING"),
            (f"/flow_runs/{cancelled}", "CANCELLED"),
        ):
            service.ask(f"{path}/set_state", state={"type": state}, force=True)
        with service.database() as database:
            assert database.execute("UPDATE flow_run SET end_time = '2020-01-01' WHERE id = ?", [old]).rowcount == 1
        late = {"deployment_id": {"any_": [nobody["id"]]}, "state": {"name": {"any_": ["Late"]}}}
        wait_until(lambda: service.ask("/flow_runs/filter", flow_runs=late))
        wait_until(lambda: "state_type" not in service.run(old))
        of_run = {"flow_run_id": {"any_": [cancelled]}}
        wait_until(
            lambda: [t["state_type"] for t in service.ask("/task_runs/filter", task_runs=of_run)] == ["CANCELLED"]
        )
    finally:
        service.remove(f"/deployments/{nobody['id']}")


def test_of_missed_runs_the_newest_is_left_and_none_that_a_person_asked_for(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.context import refresh_global_settings_context

    flow_id = service.ask("/flows/", name="missed by everybody")["id"]
    first, second = (service.ask("/deployments/", name=name, flow_id=flow_id)["id"] for name in ("first", "second"))
    needless = {ask_for_run(service, first, minutes, is_planned=True) for minutes in (2, 3, 4, 5)}
    needed = {
        ask_for_run(service, first, 1, is_planned=True),  # the newest of these
        ask_for_run(service, first, -0.1, is_planned=True),  # due in a moment
        ask_for_run(service, first, 9, is_planned=True, yes=True),  # a schedule with parameters of its own
        ask_for_run(service, second, 7, is_planned=True),
        ask_for_run(service, first, 3, is_planned=False),
        ask_for_run(service, first, 4, is_planned=False),
    }
    monkeypatch.setenv("PREFECT_API_URL", service.api)
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", read_secret(service.root))
    refresh_global_settings_context()
    try:
        assert asyncio.run(runs_to_execute([first, second])) == needed
    finally:
        monkeypatch.undo()
        refresh_global_settings_context()
    assert {(state["name"], state["type"]) for state in (service.run(run_id)["state"] for run_id in needless)} == {
        ("Skipped", "CANCELLED")
    }
    assert {service.run(run_id)["state_type"] for run_id in needed} == {"SCHEDULED"}
    for each in (first, second):
        service.remove(f"/deployments/{each}")


def ask_for_run(service: Service, deployment_id: str, minutes: float, *, is_planned: bool, **parameters: bool) -> str:
    """Ask for a run that was due so many minutes ago; as a person does, or as the server's scheduler plans it."""
    due = (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()
    state = {"type": "SCHEDULED", "state_details": {"scheduled_time": due}}
    path = f"/deployments/{deployment_id}/create_flow_run"
    run_id = service.ask(path, parameters=parameters, enforce_parameter_schema=False, state=state)["id"]
    if is_planned:
        with service.database() as database:
            change = "UPDATE flow_run SET auto_scheduled = 1 WHERE id = ?"
            assert database.execute(change, [run_id]).rowcount == 1
    return run_id


async def runs_to_execute(deployment_ids: list[str]) -> set[str]:
    """Return the ids of the runs that a service of these deployments would start now."""
    from prefect.client.orchestration import get_client

    from pipeline.flows.missed import LatestRunPoller

    registry = SimpleNamespace(get_deployment_ids=lambda: [UUID(each) for each in deployment_ids])
    unused = ("limit_manager", "resolve_starter", "runs_task_group", "process_manager", "state_proposer")
    unused += ("hook_runner", "cancellation_manager", "get_attempt_conclusion")
    given: dict[str, Any] = {"deployment_registry": registry, "storage_objs": [], **dict.fromkeys(unused)}
    async with get_client() as client:
        poller = LatestRunPoller(client=client, query_seconds=1.0, prefetch_seconds=10.0, **given)
        return {str(run.id) for run in await poller._get_scheduled_flow_runs()}


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_after_a_stall_one_run_makes_up_for_all_that_were_missed(service: Service) -> None:
    """Nothing of the service moves for a time, while its server goes on planning runs, one every ten seconds."""
    retrain = deployment(service, "retrain")
    of_retrain = {"deployment_id": {"any_": [retrain["id"]]}}
    stalled = psutil.Process(service.pid)
    stalled.suspend()
    ids = service.add_schedules(retrain, {"interval": 10})
    by_hand = service.start_run("retrain")
    try:
        late = of_retrain | {"state": {"name": {"any_": ["Late"]}}}
        wait_until(lambda: len(service.ask("/flow_runs/filter", flow_runs=late)) >= 6)
        missed = [run["id"] for run in service.ask("/flow_runs/filter", flow_runs=late) if run["auto_scheduled"]]
        stalled.resume()
        assert service.wait(by_hand)[0] == "COMPLETED"
        ends = Counter(service.wait(run_id)[0] for run_id in missed)
    finally:
        stalled.resume()
        service.delete_schedules(retrain, ids)
    # None of them is executed where another one came due before the service looked.
    assert ends["CANCELLED"] >= len(missed) - 1, ends


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_every_minute_as_a_person_writes_it(service: Service) -> None:
    """Two completed runs of rebuild and retrain in four minutes, and ``facets status`` shows them."""
    results = {when: runs_in_four_minutes(service, when) for when in ("every 1 minutes", "* * * * *")}
    path = PROJECT / "benchmarks" / "results" / "schedules.json"
    what = "runs that schedules started and that completed within four minutes of the change of params.yaml"
    result = {"command": "make soak", "what": what, "completed": results, "machine": describe_machine()}
    path.write_text(json.dumps(result, indent=2) + "\n")
    assert all(n >= 2 for counts in results.values() for n in counts.values()), results


def runs_in_four_minutes(service: Service, when: str) -> dict[str, int]:
    original = (service.root / "params.yaml").read_text()
    before = {flow: completed(service, flow) for flow in SCHEDULED}
    service.repository.edit_params(lambda sections: sections["schedule"].update(rebuild=when))
    started = time.monotonic()
    try:
        wait_until(lambda: all(len(completed(service, flow) - before[flow]) >= 2 for flow in SCHEDULED), 240)
    finally:
        counts = {flow: len(completed(service, flow) - before[flow]) for flow in SCHEDULED}
        shown = service.repository.facets("status", EXPERIMENT, "--json", check=False)
        (service.root / "params.yaml").write_text(original)
    assert time.monotonic() - started < 300
    (state,) = json.loads(shown.stdout)
    rows = {row["flow"]: row for row in state["schedules"]}
    assert all(rows[flow]["last"]["state"] in ("Completed", "Running", "Pending") for flow in SCHEDULED)
    assert all(rows[flow]["next"] for flow in SCHEDULED)
    wait_until(lambda: deployment(service, "rebuild")["schedules"][0]["schedule"].get("cron") == "0 3 * * *")
    return counts
