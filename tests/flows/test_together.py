"""Two repositories with the same experiment on one server, and a server that plans nothing. In `make soak`."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.flows.access import read_secret
from tests.flows.conftest import Receiver
from tests.flows.service import Service, free_port, get, wait_until
from tests.repository import EXPERIMENT, Repository

pytestmark = [pytest.mark.soak, pytest.mark.timeout(0), pytest.mark.xdist_group("service")]


@contextmanager
def guest(repository: Repository, host: Service) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the service of another repository that uses the server of the first."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment |= {"PREFECT_API_URL": host.api, "PREFECT_API_AUTH_STRING": read_secret(host.root)}
    log = repository.root / ".work" / "service.log"
    command = [*repository.facets_command, "serve", "--port", str(free_port())]
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=repository.root, env=environment, stdout=file, stderr=file)
    try:
        wait_until(lambda: "serving " in log.read_text() or process.poll() is not None, 600)
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        process.kill()
        process.wait()


def test_two_services_on_one_server(service: Service, template: Repository, tmp_path: Path) -> None:
    repository = template.copy(tmp_path / "guest")
    trainings = [root / ".work" / EXPERIMENT for root in (repository.root, service.root)]
    with guest(repository, service) as process:
        found = service.ask("/deployments/filter")
        assert {each["name"] for each in found} > {service.deployment_name}
        (theirs,) = [
            each["id"]
            for each in found
            if each["name"] != service.deployment_name and each["entrypoint"].endswith(".rebuild")
        ]
        repository.edit_params(lambda sections: sections["train"]["phases"][1].update(epochs=20_000))
        lost = service.ask(f"/deployments/{theirs}/create_flow_run", state={"type": "SCHEDULED"})["id"]
        wait_until(lambda: list(trainings[0].glob("train-*")), 300)
        assert not list(trainings[1].glob("train-*"))
        assert "nothing has changed" in service.finish("rebuild")
        process.kill()
        process.wait()
    service.stop()
    service.start()
    assert service.run(lost)["state_type"] == "RUNNING"
    with guest(repository, service):
        assert service.run(lost)["state_type"] == "CRASHED"
        assert len({each["name"] for each in service.ask("/deployments/filter")}) == 2


def test_a_server_that_plans_nothing_is_noticed(template: Repository, receiver: Receiver, tmp_path: Path) -> None:
    """No exception tells of it: only the missing runs do."""
    off = {"PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false"}
    served = Service(template.copy(tmp_path / "repository"), receiver.url, environment=off)
    try:
        served.start()
        health = f"http://127.0.0.1:{served.port + 1}/-/health"
        answer = wait_until(lambda: (got := get(health)).status_code == 503 and got, 900)
        assert all("no run is planned" in fault for fault in answer.json()["faults"])
        assert set(answer.json()["faults"]) <= {body["text"] for body in receiver.received}
        assert served.repository.facets("status", EXPERIMENT, check=False).returncode == 7
    finally:
        served.stop()
