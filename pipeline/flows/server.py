"""An embedded Prefect server: started where no other is configured, started again when it dies, ended with us."""

import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import httpx

from pipeline.core.errors import ResourceError
from pipeline.core.supervision import supervised
from pipeline.flows.access import make_private_database, own_secret
from pipeline.flows.server_log import LogWriter
from pipeline.flows.vital import VitalThreads
from pipeline.operations.process_group import ProcessGroup

_START_SECONDS = 300.0
_OLD_SERVER_SECONDS = 15.0  # the server of a killed service ends a moment after it
_SECONDS_BEFORE_RESTART = 1.0
_STEADY_SECONDS = 60.0
_MOST_DEATHS = 5
"""So often in a row a server may die within ``_STEADY_SECONDS`` of its start before the service gives up."""

_SILENT_SECONDS = 300.0
"""So long a server that lives may leave questions unanswered; under load its answers take seconds, not minutes."""

_SECONDS_BETWEEN_QUESTIONS = 5.0
_COMMAND = (
    "from pipeline.core.supervision import end_with_supervisor; end_with_supervisor(); "
    "from pipeline.flows.guard import run; run()"
)


@contextmanager
def embedded_server(root: Path, host: str, port: int, vital: VitalThreads) -> Iterator[str]:
    """Run a Prefect server while the block lasts and yield the URL of its API, which asks for :func:`own_secret`.

    Args:
        root: the repository.
        host: address on which the server listens.
        port: on which it listens.
        vital: gets the threads that keep the server alive and notice when it is silent.

    Raises:
        ResourceError: the port is taken, the server does not answer in time, or its secret cannot be read.
    """
    _require_free_port(host, port)
    url = f"http://{host}:{port}/api"
    stop = threading.Event()
    secret = own_secret(root)
    make_private_database(Path(os.environ["PREFECT_HOME"]))
    keeper = vital.start("the keeper of the Prefect server", _keep_alive, root, host, port, secret, stop)
    try:
        _wait_for(url, vital, root)
        vital.start("the watch over the Prefect server", _require_answers, url, stop, root)
        yield url
    finally:
        stop.set()
        keeper.join()


def _require_free_port(host: str, port: int) -> None:
    """Refuse a port that is in use: it might be a Prefect server, but that of another repository."""
    deadline = time.monotonic() + _OLD_SERVER_SECONDS
    while True:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                return
            except OSError as error:
                reason = error.strerror
        if time.monotonic() > deadline:
            raise ResourceError(
                f"the Prefect server needs port {port} on {host}, but: {reason}; choose another with --port, or name "
                "an existing server in PREFECT_API_URL"
            )
        time.sleep(0.2)


def _keep_alive(root: Path, host: str, port: int, secret: str, stop: threading.Event) -> None:
    environment = {
        **os.environ,
        **supervised(),
        "PREFECT_SERVER_API_HOST": host,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_API_AUTH_STRING": secret,
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        # Its own pages alone; by default pages from anywhere may ask and read.
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://{host}:{port}",
        # Relative, so that the pages work through a tunnel too; by default they would look for port 4200.
        "PREFECT_SERVER_UI_API_URL": "/api",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    }
    command = [sys.executable, "-c", _COMMAND]
    n_deaths = 0
    with closing(LogWriter(server_log(root))) as log:
        while True:
            started = time.monotonic()
            with ProcessGroup(command, root, environment) as group:
                code = group.stream(log.write, stop)
            if stop.is_set():
                return
            n_deaths = n_deaths + 1 if time.monotonic() - started < _STEADY_SECONDS else 1
            if n_deaths == _MOST_DEATHS:
                raise ResourceError(
                    f"the Prefect server must stay alive, but died {n_deaths} times soon after its start, with exit "
                    f"code {code}; see {server_log(root)}, mend it and start the service again"
                )
            if stop.wait(_SECONDS_BEFORE_RESTART):
                return
            _require_free_port(host, port)  # another process may have taken it


def _require_answers(url: str, stop: threading.Event, root: Path) -> None:
    """Return when told to stop; a server that runs but does not answer would go unnoticed otherwise.

    Raises:
        ResourceError: nothing was heard of it for long.
    """
    heard = time.monotonic()
    while not stop.wait(_SECONDS_BETWEEN_QUESTIONS):
        with suppress(httpx.HTTPError):
            httpx.get(f"{url}/health", timeout=_SILENT_SECONDS / 10)
            heard = time.monotonic()
        if time.monotonic() - heard > _SILENT_SECONDS:
            raise ResourceError(
                f"the Prefect server must answer at {url}, but has not for {_SILENT_SECONDS:.0f} s; see "
                f"{server_log(root)} and start the service again"
            )


def _wait_for(url: str, vital: VitalThreads, root: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        vital.require_alive()
        try:
            if httpx.get(f"{url}/health", timeout=2.0).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.3)
    raise ResourceError(
        f"the Prefect server must answer at {url} within {_START_SECONDS:.0f} s, but does not; see {server_log(root)}, "
        "or name an existing one in PREFECT_API_URL"
    )


def server_log(root: Path) -> Path:
    """Return where the output of the embedded server goes."""
    return root / ".work" / "logs" / "prefect-server.log"
