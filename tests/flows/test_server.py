"""The keeper of the Prefect server and the vital threads, on real processes and ports."""

import signal
import socket
import time
from pathlib import Path

import psutil
import pytest

from pipeline.core.errors import PipelineError, ResourceError
from pipeline.flows import server
from pipeline.flows.server import embedded_server
from pipeline.flows.vital import VitalThreads
from tests.flows.service import free_port, get, wait_until

# Answers every question, and starts in a moment.
STAND_IN = """
import os
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
HTTPServer((os.environ["PREFECT_SERVER_API_HOST"], int(os.environ["PREFECT_SERVER_API_PORT"])), Handler).serve_forever()
"""


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """A free port, for a server that is quick to start and soon given up."""
    monkeypatch.setattr(server, "_COMMAND", STAND_IN)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.setattr(server, "_OLD_SERVER_SECONDS", 0.5)
    monkeypatch.setattr(server, "_SECONDS_BEFORE_RESTART", 0.05)
    monkeypatch.setattr(server, "_SECONDS_BETWEEN_QUESTIONS", 0.1)
    return free_port()


def the_server(port: int) -> psutil.Process | None:
    """Return the living server process, once it answers."""
    get(f"http://127.0.0.1:{port}/api/health")
    found = [child for child in psutil.Process().children() if STAND_IN in child.cmdline()]
    return found[0] if found else None


def fault(vital: VitalThreads) -> PipelineError:
    """Wait until a vital thread has ended and return why."""

    def ended() -> list[PipelineError]:
        try:
            vital.require_alive()
        except PipelineError as error:
            return [error]
        return []

    return wait_until(ended, 30)[0]


def test_a_server_that_dies_is_started_again_until_it_dies_too_often(tmp_path: Path, port: int) -> None:
    vital = VitalThreads()
    with embedded_server(tmp_path, "127.0.0.1", port, vital) as url:
        for _ in range(4):
            wait_until(lambda: the_server(port), 30).kill()
            wait_until(lambda: get(f"{url}/health").is_success, 30)
            vital.require_alive()
        wait_until(lambda: the_server(port), 30).kill()
        assert str(fault(vital)).startswith(
            "the Prefect server must stay alive, but died 5 times soon after its start, with exit code -9; see "
        )


def test_deaths_far_apart_are_not_added_up(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_STEADY_SECONDS", 0.0)
    vital = VitalThreads()
    with embedded_server(tmp_path, "127.0.0.1", port, vital):
        for _ in range(6):
            wait_until(lambda: the_server(port), 30).kill()
        wait_until(lambda: the_server(port), 30)
        vital.require_alive()


def test_a_port_that_is_taken_while_the_server_is_down_ends_the_service(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_SECONDS_BEFORE_RESTART", 1.0)
    vital = VitalThreads()
    with embedded_server(tmp_path, "127.0.0.1", port, vital), socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        wait_until(lambda: the_server(port), 30).kill()
        take(thief, port)
        assert f"the Prefect server needs port {port} on 127.0.0.1, but: Address already in use" in str(fault(vital))


def take(thief: socket.socket, port: int) -> None:
    """Listen on a port as soon as it is free."""
    end = time.monotonic() + 10
    while True:
        try:
            thief.bind(("127.0.0.1", port))
            thief.listen()
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.01)
        else:
            return


def test_a_server_that_lives_but_does_not_answer_ends_the_service(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_SILENT_SECONDS", 2.0)
    vital = VitalThreads()
    with embedded_server(tmp_path, "127.0.0.1", port, vital) as url:
        process = wait_until(lambda: the_server(port), 30)
        process.send_signal(signal.SIGSTOP)
        assert str(fault(vital)).startswith(f"the Prefect server must answer at {url}, but has not for 2 s; see ")
        process.send_signal(signal.SIGCONT)


def test_a_vital_thread_that_ends_is_named_with_its_reason() -> None:
    def fail() -> None:
        raise ZeroDivisionError("by zero")

    for target, reason in ((fail, "ZeroDivisionError: by zero"), (lambda: None, "it returned")):
        vital = VitalThreads()
        vital.start("the poller", target)
        error = fault(vital)
        assert isinstance(error, ResourceError)
        assert str(error) == f"the poller must run as long as the service, but it ended ({reason}); start again"
