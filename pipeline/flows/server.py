"""An embedded Prefect server: started where no other is configured, started again when it dies, ended with us."""

import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from pipeline.errors import ResourceError
from pipeline.flows.access import make_private_database, open_private, own_secret
from pipeline.operations.process_group import ProcessGroup
from stages._entry import SUPERVISOR

_START_SECONDS = 300.0
_OLD_SERVER_SECONDS = 15.0  # the server of a killed service ends a moment after it
_COMMAND = "from stages._entry import end_with_supervisor as e; e(); from pipeline.flows.guard import run; run()"


@contextmanager
def embedded_server(root: Path, host: str, port: int) -> Iterator[str]:
    """Run a Prefect server while the block lasts and yield the URL of its API, which asks for :func:`own_secret`.

    Raises:
        ResourceError: the port is taken, the server does not answer in time, or its secret cannot be read.
    """
    _require_free_port(host, port)
    url = f"http://{host}:{port}/api"
    stop = threading.Event()
    secret = own_secret(root)
    make_private_database(Path(os.environ["PREFECT_HOME"]))
    keeper = threading.Thread(target=_keep_alive, args=(root, host, port, secret, stop), name="prefect-server")
    keeper.start()
    try:
        _wait_for(url, keeper, root)
        yield url
    finally:
        stop.set()
        keeper.join()


def _require_free_port(host: str, port: int) -> None:
    """Refuse a port on which somebody listens: it might be a Prefect server, but that of another repository."""
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
    this = psutil.Process()
    environment = {
        **os.environ,
        SUPERVISOR: f"{this.pid} {this.create_time()}",
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
    while not stop.is_set():
        with (
            open_private(_log(root)) as file,
            ProcessGroup(command, root, environment) as group,
        ):
            group.stream(lambda line, file=file: print(line, file=file, flush=True), stop)
        stop.wait(1.0)


def _wait_for(url: str, keeper: threading.Thread, root: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and keeper.is_alive():
        try:
            if httpx.get(f"{url}/health", timeout=2.0).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.3)
    raise ResourceError(
        f"the Prefect server must answer at {url} within {_START_SECONDS:.0f} s, but does not; see {_log(root)}, or "
        "name an existing one in PREFECT_API_URL"
    )


def _log(root: Path) -> Path:
    return root / ".work" / "logs" / "prefect-server.log"
