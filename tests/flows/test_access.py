"""Who gets into the Prefect server: of another process without the secret, and of a page elsewhere, nobody."""

import json
import re
import stat
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from uuid import uuid4

import httpx
import prefect
import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from pipeline.core.errors import ResourceError
from pipeline.flows.access import (
    make_private_database,
    open_private,
    own_secret,
    read_secret,
    require_access,
    secret_file,
)
from pipeline.flows.guard import is_own_name
from tests.flows.service import Service
from tests.repository import EXPERIMENT

OPEN = {("GET", "/health"), ("GET", "/ready")}
"""What Prefect answers to everybody, for probes: whether it lives."""

SOCKETS = (
    "/events/in",
    "/events/out",
    "/logs/out",
    "/task_runs/subscriptions/scheduled",
    "/work_pools/a/workers/connect",
)
SOURCE = Path(prefect.__file__).parent


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_start_makes_a_secret_and_later_ones_use_it(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="start facets serve"):
        read_secret(tmp_path)
    secret = own_secret(tmp_path)
    user, _, password = secret.partition(":")
    assert user == "facets"
    assert len(password) > 40
    assert own_secret(tmp_path) == read_secret(tmp_path) == secret
    assert (mode(secret_file(tmp_path)), mode(secret_file(tmp_path).parent)) == (0o600, 0o700)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"password", b"user:short", b"a:12345678\nb:12345678\n", b"\xff:12345678"]
)
def test_a_secret_that_would_let_anybody_in_is_refused(tmp_path: Path, content: bytes) -> None:
    own_secret(tmp_path)
    secret_file(tmp_path).write_bytes(content)
    with pytest.raises(ResourceError, match="auth"):
        own_secret(tmp_path)


def test_what_an_older_release_left_open_is_closed(tmp_path: Path) -> None:
    home = tmp_path / "prefect"
    home.mkdir(mode=0o755)
    elsewhere = tmp_path / "elsewhere"
    for path in (home / "prefect.db", home / "prefect.db-wal", elsewhere):
        path.write_bytes(b"kept")
        path.chmod(0o644)
    (home / "link").symlink_to(elsewhere)
    make_private_database(home)
    assert mode(home) == 0o700
    assert {mode(home / name) for name in ("prefect.db", "prefect.db-wal")} == {0o600}
    assert (home / "prefect.db").read_bytes() == b"kept"
    assert mode(elsewhere) == 0o644
    log = tmp_path / "logs" / "server.log"
    for _ in range(2):
        with open_private(log) as file:
            file.write("line\n")
        assert mode(log) == 0o600
        log.chmod(0o644)
    assert log.read_text() == "line\nline\n"


@pytest.mark.parametrize(
    ("host", "bound", "own"),
    [
        ("127.0.0.1:4200", "127.0.0.1", True),
        ("[::1]", "::1", True),
        ("evil.example:4200", "127.0.0.1", False),
        (None, "127.0.0.1", False),
        ("pictures.example", "10.0.0.5", True),
    ],
)
def test_names(host: str | None, bound: str, own: bool) -> None:
    assert is_own_name(host, bound) is own


def calls_of(service: Service) -> list[tuple[str, str]]:
    """Return every call of the server's API, as it describes itself: method and path with values filled in."""
    values = {"id": str(uuid4()), "name": "rebuild", "flow_name": "rebuild", "deployment_name": EXPERIMENT}
    return [
        (method.upper(), re.sub(r"{(\w+)}", lambda found: values.get(found[1], str(uuid4())), path))
        for path, methods in service.read("/openapi.json")["paths"].items()
        for method in methods
    ]


@pytest.mark.xdist_group("service")
def test_without_the_secret_every_call_is_refused(service: Service) -> None:
    """All that the server can do, as it says itself: blocks, deployments, runs, logs, and what a later one adds."""
    calls = calls_of(service)
    for kind in ("block_documents", "deployments", "flow_runs", "logs", "work_pools", "variables", "automations"):
        assert ("POST", f"/{kind}/filter") in calls
    assert {"GET", "POST", "PATCH", "PUT", "DELETE"} <= {method for method, _ in calls}
    answered: set[tuple[str, str]] = set()
    # Prefect looks at the CSRF token first; with one that is right only the secret is missing.
    for auth, headers, refusals in ((None, {}, (401, 403)), (("facets", "a guess"), service.csrf_headers, (401,))):
        with httpx.Client(base_url=service.api, timeout=60, auth=auth, headers=headers) as stranger:
            for method, path in calls:
                if stranger.request(method, path, json={}).status_code not in refusals:
                    answered.add((method, path))
    assert answered <= OPEN


def listen(address: str, protocols: list[Subprotocol] | None) -> None:
    """Hear one message of a socket, with a guess of the secret."""
    with connect(address, subprotocols=protocols, open_timeout=60) as stranger:
        stranger.send(json.dumps({"type": "auth", "token": "facets:a guess of mine"}))
        stranger.recv(60)


@pytest.mark.xdist_group("service")
def test_without_the_secret_no_socket_says_anything(service: Service) -> None:
    declared = [path.read_text().count("@router.websocket(") for path in (SOURCE / "server" / "api").glob("*.py")]
    assert sum(declared) == len(SOCKETS)
    for path in SOCKETS:
        address = f"{service.api.replace('http', 'ws')}{path}"
        for protocols in (None, [Subprotocol("prefect")]):
            with pytest.raises((ConnectionClosed, InvalidHandshake)):
                listen(address, protocols)


@pytest.mark.xdist_group("service")
def test_another_name_for_loopback_is_not_answered(service: Service) -> None:
    for path in ("/health", "/flows/filter"):
        answer = httpx.get(f"{service.api}{path}", headers={"Host": "evil.example"}, timeout=60)
        assert answer.status_code == 421
    assert httpx.get(f"{service.api}/health", timeout=60).headers["X-Frame-Options"] == "DENY"


@pytest.mark.xdist_group("service")
def test_the_secret_is_in_its_file_and_nowhere_else_that_others_can_read(service: Service) -> None:
    password = read_secret(service.root).partition(":")[2]
    assert password not in json.dumps(service.read("/admin/settings"))
    for process in service.processes():
        assert password not in " ".join(process.cmdline())
    log = service.root / ".work" / "service.log"
    assert f"log in with the line in {secret_file(service.root)}" in log.read_text()
    logs = service.root / ".work" / "logs"
    for path in (log, *logs.iterdir()):
        assert password not in path.read_text(), path
    home = service.root / ".work" / "prefect"
    assert mode(home) == 0o700
    assert {mode(path) for path in (*home.glob("prefect.db*"), logs / "prefect-server.log")} == {0o600}


@pytest.mark.xdist_group("service")
def test_a_server_of_others_is_asked_before_it_is_used(service: Service) -> None:
    assert require_access(service.api, read_secret(service.root)) is None
    assert require_access("http://127.0.0.1:9/api", None) is None  # it is waited for elsewhere
    for secret in (None, "facets:a guess of mine"):
        with pytest.raises(
            ResourceError, match=r"wants another secret than PREFECT_API_AUTH_STRING, which is (not )?set"
        ):
            require_access(service.api, secret)


def test_a_server_that_lets_everybody_in_is_named() -> None:
    class Open(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Open) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        said = require_access(f"http://127.0.0.1:{server.server_port}/api", "user:password")
        thread.join()
    assert "lets everybody in" in (said or "")


@pytest.mark.no_cover  # it happens in other processes
@pytest.mark.xdist_group("service")
def test_a_run_is_of_the_flow_of_the_service_whatever_its_deployment_says(service: Service) -> None:
    """Pull steps are shell scripts that Prefect runs before a flow; with the secret anybody can write some."""
    mark = service.root / ".work" / "pulled"
    deployment = service.read(f"/deployments/name/rebuild/{service.deployment_name}")
    step = {"prefect.deployments.steps.run_shell_script": {"script": f"touch {mark}"}}
    service.change(f"/deployments/{deployment['id']}", pull_steps=[step], entrypoint="shutil.disk_usage")
    try:
        service.finish("rebuild")
    finally:
        kept = {name: deployment[name] for name in ("pull_steps", "entrypoint")}
        service.change(f"/deployments/{deployment['id']}", **kept)
    assert not mark.exists()
