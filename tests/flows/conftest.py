"""One service with its Prefect server for all flow tests of a session; nothing else starts one."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.flows.service import Service, wait_until
from tests.repository import Repository

# What the server does every hour or minute, for those who wait for it.
_OFTEN = {
    "PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS": "3",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_LOOP_SECONDS": "2",
    "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_LOOP_SECONDS": "3",
}


class Receiver:
    """A web server on loopback that keeps what is posted to it."""

    def __init__(self, server: HTTPServer) -> None:
        self.url = f"http://127.0.0.1:{server.server_port}/hook"
        self.received: list[dict[str, str]] = []


@pytest.fixture(scope="package")
def receiver() -> Iterator[Receiver]:
    """Where the service reports what goes wrong."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/hook":
                kept.received.append(body)
            self.send_response(204 if self.path == "/hook" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        kept = Receiver(server)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield kept
        server.shutdown()
        thread.join()


@pytest.fixture(scope="package")
def service(template: Repository, receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that runs; a test leaves it running, with whatever it published."""
    repository = template.copy(Path(tmp_path_factory.mktemp("service")) / "repository")
    served = Service(repository, receiver.url, environment=_OFTEN)
    try:
        served.start()
        yield served
    finally:
        served.stop()
    wait_until(lambda: not served.processes())


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse to start a service in every worker: under a pytest it does not know, pytest-xdist forgets its groups."""
    if getattr(session.config.option, "loadgroup", False):
        flows = [item.nodeid for item in session.items if item.get_closest_marker("xdist_group")]
        assert all("@" in node for node in flows), flows
