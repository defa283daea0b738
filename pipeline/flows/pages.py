"""The pages of the experiments over HTTP: browsers follow no link from Prefect's pages to a file."""

import html
import json
import os
import shutil
import socket
import stat
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.core.errors import ResourceError
from pipeline.core.layout import Layout
from pipeline.flows.guard import HEADERS, WRONG_NAME, is_own_name
from pipeline.flows.vital import VitalThreads

PAGES = "FACETS_PAGES"
"""Environment variable with the address below which the processes of runs find the pages."""

HEALTH = "/-/health"
"""Where the service says how it is; no experiment's name has a hyphen, so this hides none's page."""

# A page holds all that it shows; the same rule stands in the page, for those who open it as a file.
_CONTENT = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_HTML = "text/html; charset=utf-8"
_SILENT_SECONDS = 20.0
_AT_ONCE = 32


@contextmanager
def served_pages(
    root: Path,
    experiments: Sequence[str],
    host: str,
    port: int,
    vital: VitalThreads,
    health: Callable[[], dict[str, Any]],
) -> Iterator[str]:
    """Serve ``/<experiment>``, the page of the published version, while the block lasts, and yield the address.

    ``/`` lists the pages. :data:`HEALTH` answers 200 and ``{"healthy": true, "faults": []}``, or 503 with what is
    wrong. Nothing else of the repository can be read there.

    Raises:
        ResourceError: the port is taken.
    """
    pages = {f"/{experiment}": Layout(root, experiment).published / "report.html" for experiment in experiments}

    class Handler(_Handler):
        def do_GET(self) -> None:
            if not is_own_name(self.headers.get("Host"), host):
                self.send_error(HTTPStatus.MISDIRECTED_REQUEST, WRONG_NAME)
                return
            if self.path == HEALTH:
                state = health()
                status = HTTPStatus.OK if state["healthy"] else HTTPStatus.SERVICE_UNAVAILABLE
                self.answer(status, "application/json", json.dumps(state).encode())
                return
            if self.path == "/":
                self.answer(HTTPStatus.OK, _HTML, _index(pages).encode())
                return
            try:
                file = _open_page(pages[self.path])
            except (KeyError, OSError):
                self.send_error(HTTPStatus.NOT_FOUND, f"there is {', '.join(['/', *pages])}")
                return
            with file:
                self.begin(HTTPStatus.OK, _HTML, os.fstat(file.fileno()).st_size)
                if self.command == "GET":
                    shutil.copyfileobj(file, self.wfile)

        do_HEAD = do_GET

    try:
        server = _Server((host, port), Handler)
    except OSError as error:
        raise ResourceError(
            f"the pages need port {port} on {host}, one above that of Prefect, but: {error.strerror}; choose another "
            "with --port"
        ) from None
    with server:
        vital.start("the server of the pages", server.serve_forever)
        yield f"http://{host}:{port}"
        server.shutdown()


def _index(pages: Mapping[str, Path]) -> str:
    """Return the list of pages, those that are not there yet without a link."""
    items: list[str] = []
    for address, file in pages.items():
        name = html.escape(address.removeprefix("/"))
        # Relative, so that it leads there through a proxy's path too.
        link = f'<a href="{name}">{name}</a>'
        items.append(f"<li>{link if file.is_file() else f'{name}: nothing is published yet'}</li>")
    health = f'<a href="{HEALTH.removeprefix("/")}">how the service is</a>'
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>facets</title>'
        f"<h1>Experiments</h1><ul>{''.join(items)}</ul><p>{health}</p></html>"
    )


def _open_page(path: Path) -> BinaryIO:
    """Open a page; a link, a pipe or a folder in its place is none.

    Raises:
        OSError: there is no page.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(path)
    return os.fdopen(descriptor, "rb")


class _Handler(BaseHTTPRequestHandler):
    server_version, sys_version = "facets", ""
    timeout = _SILENT_SECONDS

    def begin(self, status: HTTPStatus, kind: str, length: int) -> None:
        """Send what comes before the content."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def answer(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        """Send a whole answer; to HEAD without its content."""
        self.begin(status, kind, len(content))
        if self.command == "GET":
            self.wfile.write(content)

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Security-Policy", _CONTENT)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the service's output is for what goes wrong."""


class _Server(ThreadingHTTPServer):
    """Ends the oldest of too many connections, so that no number of slow or idle clients keeps another one out."""

    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[_Handler]) -> None:
        self._connections: dict[Any, None] = {}  # the oldest first
        self._change = threading.Lock()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._change:
            self._connections[request] = None
            oldest = next(iter(self._connections)) if len(self._connections) > _AT_ONCE else None
            self._connections.pop(oldest, None)
        if oldest is not None:
            with suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)  # its thread wakes up and closes it
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._change:
            self._connections.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away or were too slow."""
