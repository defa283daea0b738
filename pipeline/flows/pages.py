"""The pages of the experiments over HTTP: browsers follow no link from Prefect's pages to a file."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from pipeline.errors import ResourceError
from pipeline.flows.vital import VitalThreads
from pipeline.layout import Layout

PAGES = "FACETS_PAGES"
"""Environment variable with the address below which the processes of runs find the pages."""


@contextmanager
def served_pages(root: Path, experiments: Sequence[str], host: str, port: int, vital: VitalThreads) -> Iterator[str]:
    """Serve ``/<experiment>``, the page of the published version, while the block lasts, and yield the address.

    Nothing else of the repository can be read there.

    Raises:
        ResourceError: the port is taken.
    """
    pages = {f"/{experiment}": Layout(root, experiment).published / "report.html" for experiment in experiments}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages.get(self.path)
            if page is None or not page.exists():
                self.send_error(HTTPStatus.NOT_FOUND, f"there is {', '.join(pages)}")
                return
            with page.open("rb") as file:
                self.send_response(HTTPStatus.OK)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(page.stat().st_size))
                self.end_headers()
                shutil.copyfileobj(file, self.wfile)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: the service's output is for what goes wrong."""

    try:
        server = ThreadingHTTPServer((host, port), Handler)
    except OSError as error:
        raise ResourceError(
            f"the pages need port {port} on {host}, one above that of Prefect, but: {error.strerror}; choose another "
            "with --port"
        ) from None
    with server:
        vital.start("the server of the pages", server.serve_forever)
        yield f"http://{host}:{port}"
        server.shutdown()
