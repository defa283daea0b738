"""What the service notices about itself, and that repositories on one server keep apart."""

import json
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from pipeline.config import load_params
from pipeline.core.errors import ConfigError
from pipeline.core.layout import Layout
from pipeline.flows import server_log
from pipeline.flows.access import read_secret
from pipeline.flows.alert import ALERT_URL
from pipeline.flows.server_log import LogWriter, ServerLog
from pipeline.operations.deliveries import note_trouble
from tests.flows.conftest import Receiver
from tests.flows.service import Service, get, wait_until
from tests.repository import EXPERIMENT, Repository

pytestmark = pytest.mark.xdist_group("service")

_BREAK = (
    "CREATE TRIGGER broken BEFORE INSERT ON flow_run WHEN NEW.auto_scheduled BEGIN SELECT RAISE(ABORT, 'broken'); END"
)

RECORD = "17:19:54.627 | ERROR   | docket.dependencies - ↩ [     1ms] {service}(){{{service}}}\nTraceback:\n  File …\n"
LOCKED = "sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) database is locked\n"


@pytest.fixture
def other(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    """Another repository with the same experiment, whose service would use the same server; nothing of it runs."""
    root = tmp_path / "other"
    root.mkdir()
    shutil.copy(service.root / "params.yaml", root)
    monkeypatch.setenv("FACETS_ROOT", str(root))
    monkeypatch.setenv("PREFECT_API_URL", service.api)
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", read_secret(service.root))
    from prefect.context import refresh_global_settings_context

    refresh_global_settings_context()
    yield Repository(root)
    register(Repository(root), active=[])
    monkeypatch.undo()
    refresh_global_settings_context()


def register(repository: Repository, active: list[str] | None = None) -> dict[UUID, str | None]:
    """Tell the server what a starting service tells it."""
    from dataclasses import replace

    from pipeline.flows.registration import register as tell

    params = load_params(repository.root)
    params = params if active is None else replace(params, active=tuple(active))
    return tell(repository.root, params, lambda deployment: UUID(str(deployment.apply())), is_own_server=False)


def schedules(service: Service, ids: Any) -> list[dict[str, Any]]:
    """Return the schedules of some deployments."""
    return [schedule for each in ids for schedule in service.deployment(str(each))["schedules"]]


def test_a_restart_keeps_pauses_and_what_people_added(service: Service, other: Repository) -> None:
    ids = register(other)
    rebuild = next(each for each, entrypoint in ids.items() if str(entrypoint).endswith(".rebuild"))
    tidy = next(each for each, entrypoint in ids.items() if str(entrypoint).endswith(".tidy"))
    service.set_active(service.deployment(str(rebuild)), False)
    service.ask(f"/deployments/{tidy}/pause_deployment")
    service.add_schedules(service.deployment(str(rebuild)), {"cron": "1 1 1 1 *"})
    assert register(other) == ids
    other.edit_params(lambda sections: sections["schedule"].update(rebuild="every 6 hours", timezone="Europe/Zurich"))
    assert register(other) == ids
    assert service.deployment(str(tidy))["paused"]
    found = {schedule["slug"]: schedule for schedule in schedules(service, [rebuild])}
    assert (found["params"]["schedule"]["interval"], found["params"]["active"]) == (6 * 3600, False)
    assert found["params"]["schedule"]["timezone"] == "Europe/Zurich"
    assert (found[None]["schedule"]["cron"], found[None]["active"]) == ("1 1 1 1 *", True)
    assert not service.deployment(str(rebuild))["paused"]


def test_two_repositories_on_one_server_leave_each_other_alone(
    service: Service, other: Repository, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ALERT_URL, receiver.url)
    mine = {each["id"]: each for each in service.ask("/deployments/filter")}
    run_id = service.ask("/flow_runs/", flow_id=next(iter(mine.values()))["flow_id"], deployment_id=next(iter(mine)))[
        "id"
    ]
    service.ask(f"/flow_runs/{run_id}/set_state", state={"type": "RUNNING"}, force=True)
    rebuild = next(str(each) for each, entrypoint in register(other).items() if str(entrypoint).endswith(".rebuild"))
    lost = service.ask(f"/deployments/{rebuild}/create_flow_run", state={"type": "SCHEDULED"})
    service.ask(f"/flow_runs/{lost['id']}/set_state", state={"type": "RUNNING"}, force=True)
    register(other)
    assert service.run(lost["id"])["state_type"] == "CRASHED"
    # What Prefect calls a run that has not begun, such as magenta-toucan, tells nobody anything.
    text = f"rebuild of {EXPERIMENT} crashed, the next run goes on where it stopped: the service went down; see "
    told = [body["text"] for body in receiver.received if body["repository"] == str(other.root)]
    assert told == [f"{text}{service.api.removesuffix('/api')}/runs/flow-run/{lost['id']}"]
    assert service.run(run_id)["state_type"] == "RUNNING"
    service.ask(f"/flow_runs/{run_id}/set_state", state={"type": "CANCELLED"}, force=True)
    register(other, active=[])
    left = {each["id"]: each for each in service.ask("/deployments/filter")}
    assert {key: value["schedules"] for key, value in left.items()} == {k: v["schedules"] for k, v in mine.items()}


def test_a_run_of_another_repository_is_refused(other: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.flows.repository import own_root, repository_name

    assert own_root() == other.root
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__NAME", f"{EXPERIMENT}@{repository_name(other.root)}")
    assert own_root() == other.root
    for foreign in (f"{EXPERIMENT}@elsewhere-0a1b2c3d", EXPERIMENT):
        monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__NAME", foreign)
        with pytest.raises(ConfigError, match=f"that of this run is '{foreign}'; give every"):
            own_root()


def test_changed_times_take_effect_without_a_restart(service: Service, other: Repository) -> None:
    from pipeline.flows.watch import Watch

    ids = register(other)
    watch = Watch(other.root, load_params(other.root), None, patience_seconds=0.0)
    watch.look(0.0)
    assert watch.health() == {"healthy": True, "faults": []}
    other.edit_params(lambda sections: sections["schedule"].update(rebuild="30 4 * * *", timezone="Europe/Zurich"))
    watch.look(1.0)
    changed = [each["schedule"] for each in schedules(service, ids) if each["schedule"].get("cron") == "30 4 * * *"]
    assert [each["timezone"] for each in changed] == ["Europe/Zurich"] * 2
    good = (other.root / "params.yaml").read_text()
    (other.root / "params.yaml").write_text(good.replace("30 4 * * *", "99 4 * * *"))
    watch.look(2.0)
    assert "must name times that exist, got '99 4 * * *'" in watch.health()["faults"][0]
    (other.root / "params.yaml").write_text(good)
    watch.look(3.0)
    assert watch.health()["healthy"]


def test_a_schedule_that_is_gone_and_a_server_that_is_away_are_faults(
    service: Service, other: Repository, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.flows.watch import Watch

    monkeypatch.setenv(ALERT_URL, receiver.url)
    watch = Watch(other.root, load_params(other.root), None, patience_seconds=60.0, stuck_seconds=120.0)
    left = other.root / "data" / "inbox" / EXPERIMENT / "left"
    left.mkdir(parents=True)
    note_trouble(Layout(other.root, EXPERIMENT), left, "its run crashed: killed")
    watch.look(0.0)
    assert watch.health()["healthy"]  # it may come up in a moment
    watch.look(61.0)
    assert len(watch.health()["faults"]) == 3
    assert "has no schedule on the server" in watch.health()["faults"][0]
    register(other)
    for now in (120.0, 150.0, 181.0, 190.0):
        watch.look(now)
    reason = "min; its run crashed: killed"
    assert [fault.partition("been in the inbox")[::2] for fault in watch.health()["faults"]] == [
        (f"{EXPERIMENT}: 'left' has ", f" 3 {reason}")
    ]
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    from prefect.context import refresh_global_settings_context

    refresh_global_settings_context()
    watch.look(200.0)
    watch.look(261.0)
    assert any("does not answer" in fault for fault in watch.health()["faults"])
    texts = [body["text"] for body in receiver.received if body["repository"] == str(other.root)]
    assert len(texts) == 5
    monkeypatch.setenv("PREFECT_API_URL", service.api)
    refresh_global_settings_context()


@pytest.mark.no_cover  # it happens in other processes
@pytest.mark.timeout(0)  # every wait in it has a limit of its own
def test_a_scheduler_that_fails_is_an_alert_and_the_service_is_not_healthy(
    service: Service, receiver: Receiver
) -> None:
    """Its exceptions show in no answer of the server: the database refuses what it wants to write."""
    service.finish("rebuild")
    health = f"http://127.0.0.1:{service.port + 1}/-/health"
    tidy = service.read(f"/deployments/name/tidy/{service.deployment_name}")
    with service.database() as database:
        database.execute(_BREAK)
        try:
            service.change_schedules(tidy, schedule={"cron": "7 7 * * *"})
            service.change(f"/deployments/{tidy['id']}", description=tidy["description"])  # it is planned anew soon
            answer = wait_until(lambda: "broken" in (got := get(health)).text and got)
            assert answer.status_code == 503
        finally:
            database.execute("DROP TRIGGER broken")
            service.change_schedules(tidy, schedule=tidy["schedules"][0]["schedule"])
    assert not answer.json()["healthy"]
    fault = next(fault for fault in answer.json()["faults"] if fault.startswith("Prefect's schedule_"))
    assert "broken" in fault
    wait_until(lambda: fault in [body["text"] for body in receiver.received])
    shown = service.repository.facets("status", EXPERIMENT, check=False)
    assert shown.returncode == 7
    assert "the service must be healthy, but: " in shown.stderr
    assert fault in shown.stderr
    assert "  rebuild    0 3 * * * UTC: last" in shown.stdout
    assert ", next 2" in shown.stdout


def test_the_log_tells_of_services_that_fail(tmp_path: Path) -> None:
    path = tmp_path / "prefect-server.log"
    path.write_text(RECORD.format(service="old") + "ValueError: long ago\n")
    log = ServerLog(path)
    assert log.faults(0.0) == {}
    with path.open("a") as file:
        file.write(RECORD.format(service="schedule_deployments") + "ValueError: no\n")
        file.write("17:20:00.000 | ERROR   | uvicorn.error - Exception in ASGI application\nKeyError: not a service\n")
        file.write("17:20:00.000 | WARNING | prefect.server.services.scheduler - slow\n")
        file.write("17:20:00.000 | ERROR   | prefect.server.services.scheduler - Error scheduling deployment 1.")
    assert log.faults(1.0) == {"schedule_deployments": "ValueError: no"}
    with path.open("a") as file:
        file.write("\nprefect.exceptions.ObjectNotFound: gone\nsqlalchemy.exc.InvalidRequestError: bulk DML\n")
    found = log.faults(2.0)
    assert found["prefect.server.services.scheduler"] == "sqlalchemy.exc.InvalidRequestError: bulk DML"
    path.write_text(RECORD.format(service="monitor_late_runs") + LOCKED)  # a new file, or a shorter one
    assert "monitor_late_runs" not in log.faults(600.0)  # the next round succeeds
    with path.open("a") as file:
        file.write(2 * (RECORD.format(service="monitor_late_runs") + LOCKED))
    assert "database is locked" in log.faults(602.0)["monitor_late_runs"]
    assert set(log.faults(1000.0)) == {"monitor_late_runs"}
    assert log.faults(2000.0) == {}


def test_the_log_is_bounded_and_nothing_is_overlooked_where_another_file_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_log, "_LARGEST_FILE", 10_000)
    path = tmp_path / "logs" / "prefect-server.log"
    log = ServerLog(path)
    for _ in range(2):
        LogWriter(path).close()  # that had nothing to say
    with closing(LogWriter(path)) as first:
        first.write("of an earlier service")
        assert [file.name for file in path.parent.iterdir()] == [path.name]
    with closing(LogWriter(path)) as writer:
        assert Path(f"{path}.1").read_text() == "of an earlier service\n"
        for number in range(600):
            head, _, where = RECORD.format(service=f"service_{number}").splitlines()
            for line in (head, where):
                writer.write(line)
            if number % 7 == 0:  # a look between a record and its exception, which another file may hold
                log.faults(0.0)
            writer.write(f"ValueError: {number} %s {{}}")
    expected = {f"service_{number}": f"ValueError: {number} %s {{}}" for number in range(600)}
    assert log.faults(0.0) == expected
    kept = sorted(path.parent.iterdir())
    assert [file.name for file in kept] == [path.name, *(f"{path.name}.{number}" for number in (1, 2, 3))]
    assert all(file.stat().st_size <= 10_000 and file.stat().st_mode & 0o777 == 0o600 for file in kept)


def test_a_server_that_is_busy_for_a_moment_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its database is locked now and then; it says that it is unavailable."""
    from prefect.context import refresh_global_settings_context

    from pipeline.flows.schedules import impatient_client, schedule_states

    n_asked = 0

    class Busy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            nonlocal n_asked
            n_asked += self.path == "/api/deployments/filter"
            body = b"[]"
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(503 if n_asked == 1 else 200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Busy) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_port}/api")
        monkeypatch.setenv("PREFECT_CLIENT_CSRF_SUPPORT_ENABLED", "false")
        refresh_global_settings_context()
        try:
            with impatient_client(5.0) as client:
                assert schedule_states(client, "any") == []
        finally:
            server.shutdown()
            thread.join()
            monkeypatch.undo()
            refresh_global_settings_context()
    assert n_asked == 2


def test_status_says_that_no_service_runs_and_waits_for_nobody(service: Service) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # it takes calls and never answers one
        for port, fault in ((9, "ConnectError"), (silent.getsockname()[1], "Timeout")):
            url = f"http://127.0.0.1:{port}/api"
            shown = service.repository.facets("status", EXPERIMENT, "--json", check=False, PREFECT_API_URL=url)
            assert shown.stdout, shown.stderr
            (state,) = json.loads(shown.stdout)
            assert "does not answer" in state["service"]["says"]
            assert fault in state["service"]["says"]
            assert state["schedules"] == []
