"""The service with a real server that dies, or whose port somebody takes: it heals, or it ends and says why."""

import signal
import socket
import time

import psutil
import pytest

from tests.flows.conftest import Receiver
from tests.flows.service import Service, wait_until
from tests.flows.test_server import take
from tests.repository import Repository

pytestmark = [pytest.mark.xdist_group("service"), pytest.mark.soak, pytest.mark.no_cover]


@pytest.fixture
def own(repository: Repository, receiver: Receiver) -> Service:
    """A service of this test alone."""
    service = Service(repository, receiver.url)
    service.start()
    return service


def said(service: Service) -> str:
    """Wait until the service has ended by itself, and return the last line it said."""
    wait_until(lambda: not service.is_alive(), 120)
    wait_until(lambda: not service.processes(), 30)
    return (service.root / ".work" / "service.log").read_text().splitlines()[-1]


def server_of(service: Service) -> psutil.Process:
    """Return the process of the service's server."""
    return wait_until(lambda: service.processes("pipeline.flows.guard"))[0]


def test_a_server_that_dies_again_and_again_ends_the_service(own: Service) -> None:
    for _ in range(4):
        dead = server_of(own)
        dead.kill()
        wait_until(lambda dead=dead: server_of(own).pid != dead.pid)
        assert own.is_alive()
    server_of(own).kill()
    assert said(own).startswith("facets: the Prefect server must stay alive, but died 5 times soon after its start")


def test_a_port_that_somebody_takes_while_the_server_is_down_ends_the_service(own: Service) -> None:
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server_of(own).kill()
        take(thief, own.port)
        assert said(own).startswith(f"facets: the Prefect server needs port {own.port} on 127.0.0.1, but: Address")


def test_a_service_in_the_background_ends_on_sigterm(own: Service) -> None:
    """A shell starts it with SIGINT ignored; so does :class:`Service`."""
    assert psutil.Process(own.pid).is_running()
    own.repository.edit_params(lambda sections: sections["train"]["phases"][1].update(epochs=200))
    own.start_run("rebuild")
    own.training()
    start = time.monotonic()
    psutil.Process(own.pid).send_signal(signal.SIGTERM)
    wait_until(lambda: not own.is_alive(), 30)
    wait_until(lambda: not own.processes(), 30)
    assert time.monotonic() - start < 20
