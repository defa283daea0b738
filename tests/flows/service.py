"""A real service on a real repository: started as people start it, spoken to over HTTP, watched from outside."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from PIL import Image

from pipeline.core.layout import Layout
from pipeline.core.supervision import supervised
from pipeline.flows.access import read_secret
from pipeline.tables import History, read
from tests.repository import EXPERIMENT, Repository

PATIENCE = 180.0
"""Seconds after which something that should come has failed to, also on a slow machine under load."""

_COMMAND = "from pipeline.core.supervision import end_with_supervisor as e; e(); from pipeline.cli import main; main()"
_SECONDS_TO_STOP = 60.0
_SECONDS_TO_ANSWER = 120.0
"""The server waits 60 s for the lock of its database before it answers 503: a client that gives up at the same time
never hears that it should try again, and leaves behind what the server did after all."""
_ANEW = httpx.Limits(max_keepalive_connections=0)  # servers die here; a client a request would read certificates anew
_CSRF_CLIENT = "tests"
_ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass
class Service:
    """``facets serve`` on a repository.

    Attributes:
        repository: what it serves.
        alert_url: where it reports what goes wrong.
        port: of its Prefect server.
        environment: variables of its processes beside those of the tests.
    """

    repository: Repository
    alert_url: str
    port: int = 0
    environment: dict[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None
    _deployments: dict[str, str] = field(default_factory=dict)
    _client: httpx.Client = field(default_factory=httpx.Client)

    @property
    def root(self) -> Path:
        return self.repository.root

    @property
    def layout(self) -> Layout:
        return Layout(self.root, EXPERIMENT)

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def deployment_name(self) -> str:
        """Name of the deployments of the tiny experiment."""
        name, _ = (self.root / ".work" / "repository").read_text().splitlines()
        return f"{EXPERIMENT}@{name}"

    def start(self) -> None:
        """Start the service and wait until it serves."""
        self.port = self.port or free_port()
        log = self.root / ".work" / "service.log"
        log.parent.mkdir(exist_ok=True)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        environment |= self.environment
        environment.update(supervised())  # it ends with the tests, however they end
        command = [self.repository.facets_command[0], "-c", _COMMAND, "serve", "--port", str(self.port)]
        n_before = log.read_text().count("serving ") if log.exists() else 0
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                # As a shell starts what it runs in the background: it must end on SIGTERM nevertheless.
                ["/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh", *command, "--alert-url", self.alert_url],
                cwd=self.root,
                env=environment,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        wait_until(lambda: log.read_text().count("serving ") > n_before or not self.is_alive(), 600)
        assert self.is_alive(), log.read_text()[-3000:]
        self._log_in()

    def _log_in(self) -> None:
        """Learn the secret as a person does, and get the token that Prefect wants to see with every change."""
        user, _, password = read_secret(self.root).partition(":")
        self._client.close()
        self._client = httpx.Client(timeout=_SECONDS_TO_ANSWER, limits=_ANEW, auth=(user, password))
        answer = self._client.get(f"{self.api}/csrf-token", params={"client": _CSRF_CLIENT})
        self.csrf_headers = {"Prefect-Csrf-Client": _CSRF_CLIENT, "Prefect-Csrf-Token": answer.json()["token"]}
        self._client.headers.update(self.csrf_headers)

    def is_alive(self) -> bool:
        """Tell whether the service runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """End the service as Ctrl-C or systemd do."""
        assert self._process is not None
        self._client.close()
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(_SECONDS_TO_STOP)

    def kill(self) -> None:
        """End the service as a power cut does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(PATIENCE)

    @contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        """Open the server's own database, for what its API neither tells nor changes; what is done is kept."""
        file = self.root / ".work" / "prefect" / "prefect.db"
        with closing(sqlite3.connect(file, timeout=PATIENCE)) as database, database:
            yield database

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def ask(self, path: str, **body: Any) -> Any:
        """Post to the Prefect API."""
        response = self._send("POST", path, body)
        return response.json() if response.content else None

    def read(self, path: str) -> Any:
        """Get something from the Prefect API."""
        return self._send("GET", path).json()

    def change(self, path: str, **body: Any) -> None:
        """Change something through the Prefect API."""
        self._send("PATCH", path, body)

    def remove(self, path: str) -> None:
        """Delete something through the Prefect API."""
        self._send("DELETE", path)

    def _send(self, method: str, path: str, body: Any = None) -> httpx.Response:
        end = time.monotonic() + PATIENCE
        # "Service unavailable" is what a server under load answers whose database is locked; clients try again.
        while (response := self._client.request(method, f"{self.api}{path}", json=body)).status_code in (403, 503):
            assert time.monotonic() < end, response.text
            if response.status_code == 403:  # the token has expired
                self._log_in()
            time.sleep(0.5)
        assert response.is_success, (path, response.text)
        return response

    def start_run(self, flow: str, **parameters: Any) -> str:
        """Ask for a run of a deployment, as the button on its page does, and return the run's id."""
        if flow not in self._deployments:
            found = self._client.get(f"{self.api}/deployments/name/{flow}/{self.deployment_name}").json()
            self._deployments[flow] = found["id"]
        path = f"/deployments/{self._deployments[flow]}/create_flow_run"
        return self.ask(path, parameters=parameters, state={"type": "SCHEDULED"})["id"]

    def run(self, run_id: str) -> dict[str, Any]:
        """Return what Prefect knows about a run."""
        return self._client.get(f"{self.api}/flow_runs/{run_id}").json()

    def runs(self, flow: str) -> list[dict[str, Any]]:
        """Return all runs of a flow that are not merely scheduled, oldest first."""
        found = self.ask("/flow_runs/filter", flows={"name": {"any_": [flow]}}, sort="START_TIME_ASC")
        return [run for run in found if run["state_type"] != "SCHEDULED"]

    def wait(self, run_id: str, seconds: float = PATIENCE) -> tuple[str, str]:
        """Wait until a run has ended and return its state's type and message."""
        wait_until(lambda: self.run(run_id)["state_type"] in _ENDED, seconds)
        state = self.run(run_id)["state"]
        return state["type"], state["message"] or ""

    def finish(self, flow: str, **parameters: Any) -> str:
        """Run a flow to its end, which must be a good one, and return its message."""
        run_id = self.start_run(flow, **parameters)
        kind, message = self.wait(run_id)
        assert kind == "COMPLETED", (kind, message, self.logs(run_id))
        return message

    def cancel(self, run_id: str) -> None:
        """Cancel a run, as the button on its page does."""
        self.ask(f"/flow_runs/{run_id}/set_state", state={"type": "CANCELLING"})

    def tasks(self, run_id: str) -> list[str]:
        """Return the names of a run's tasks in the order in which they started."""
        found = self.ask(
            "/task_runs/filter", task_runs={"flow_run_id": {"any_": [run_id]}}, sort="EXPECTED_START_TIME_ASC"
        )
        return [task["name"] for task in found]

    def logs(self, run_id: str) -> list[str]:
        """Return what a run has told Prefect."""
        found = self.ask("/logs/filter", logs={"flow_run_id": {"any_": [run_id]}}, sort="TIMESTAMP_ASC")
        return [record["message"] for record in found]

    def deployment(self, deployment_id: str) -> dict[str, Any]:
        """Return what Prefect knows about a deployment."""
        return self._client.get(f"{self.api}/deployments/{deployment_id}").json()

    def set_active(self, deployment: dict[str, Any], active: bool) -> None:
        """Pause all schedules of a deployment, or let them go on, as the switch on its page does."""
        self.change_schedules(deployment, active=active)

    def change_schedules(self, deployment: dict[str, Any], **changes: Any) -> None:
        """Change all schedules of a deployment: whether they are ``active``, or the ``schedule`` itself."""
        for schedule in deployment["schedules"]:
            self.change(f"/deployments/{deployment['id']}/schedules/{schedule['id']}", **changes)

    def add_schedules(self, deployment: dict[str, Any], *schedules: dict[str, Any]) -> list[str]:
        """Add schedules to a deployment, as the button on its page does, and return their ids."""
        path = f"/deployments/{deployment['id']}/schedules"
        made = self._send("POST", path, [{"schedule": schedule, "active": True} for schedule in schedules]).json()
        # Prefect looks every five seconds at deployments that were just changed, every minute at all others.
        self.change(f"/deployments/{deployment['id']}", description=deployment["description"])
        return [schedule["id"] for schedule in made]

    def delete_schedules(self, deployment: dict[str, Any], ids: list[str]) -> None:
        """Delete schedules of a deployment."""
        for schedule in ids:
            self.remove(f"/deployments/{deployment['id']}/schedules/{schedule}")

    def artifacts(self, run_id: str) -> dict[str, Any]:
        """Return a run's artifacts: key to data."""
        found = self.ask("/artifacts/filter", artifacts={"flow_run_id": {"any_": [run_id]}})
        return {artifact["key"]: artifact["data"] for artifact in found}

    def processes(self, *words: str) -> list[psutil.Process]:
        """Return the living processes that work for this repository; of which a command line holds all words."""
        found: list[psutil.Process] = []
        for process in psutil.process_iter():
            try:
                line = " ".join(process.cmdline())
                if not line or not all(word in line for word in words):  # the kernel's own have none
                    continue
                ours = process.environ().get("FACETS_ROOT") == str(self.root) or process.pid == self._pid_or_none()
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def _pid_or_none(self) -> int | None:
        return None if self._process is None else self._process.pid

    def training(self) -> psutil.Process:
        """Return the process that trains, once there is one; the shell that DVC starts it with is another."""
        return wait_until(
            lambda: [p for p in self.processes("-m", "pipeline.stages.train") if "python" in p.cmdline()[0]]
        )[0]

    def deliver(self, name: str, images: np.ndarray) -> Path:
        """Put a folder of PNG files into the inbox, complete at once."""
        folder = self.layout.inbox / f".{name}"
        folder.mkdir(parents=True)
        for number, image in enumerate(images):
            Image.fromarray(image).save(folder / f"{number:05d}.png")
        (folder / ".complete").touch()
        return folder.rename(folder.with_name(name))

    def n_rows(self) -> int:
        """Return how many images readers see, after checking that the tables agree."""
        history = History(self.layout.published)
        assert history.check() == []
        images = read(EXPERIMENT, "images", root=self.root)
        assert images["image_id"].is_unique
        for facet in range(2):
            rows = read(EXPERIMENT, f"facet_{facet}", root=self.root)
            assert sorted(rows["image_id"]) == sorted(images["image_id"])
        return len(images)

    def version(self) -> int:
        """Return the version that readers see."""
        return History(self.layout.published).served().version


def get(url: str) -> httpx.Response:
    """Get a page of a service, however busy the machine is."""
    return httpx.get(url, timeout=_SECONDS_TO_ANSWER)


def wait_until(condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Ask until the answer is true; asking may fail while a server is down.

    Between two questions the processors belong to whoever is waited for.
    """
    end = time.monotonic() + seconds
    while True:
        asked = time.monotonic()
        try:
            if found := condition():
                return found
        except (httpx.TransportError, AssertionError, json.JSONDecodeError):
            if time.monotonic() > end:
                raise
        assert time.monotonic() < end, f"still not so after {seconds:.0f} s"
        time.sleep(max(0.1, 4 * (time.monotonic() - asked)))


def free_port() -> int:
    """Return a port of this machine on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
