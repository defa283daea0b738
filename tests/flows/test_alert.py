"""A refused publish tells somebody outside."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from prefect import flow

from pipeline.errors import PublishError
from pipeline.flows import retrain as module
from pipeline.flows.alert import register_alert, send_alert
from pipeline.flows.environment import repository_root
from tests.operations.tiny import EXPERIMENT, Tiny


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A web server on loopback and what was posted to it."""
    received: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook", received
        server.shutdown()
        thread.join()


def test_a_refused_model_is_reported_and_the_run_fails(
    tiny: Tiny, receiver: tuple[str, list[dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, received = receiver
    register_alert(url)

    def refuse(*_: object) -> None:
        raise PublishError("a model must be healthy")

    monkeypatch.setattr(module, "ask_policy", lambda _: {"reasons": ["because"], "facts": []})
    monkeypatch.setattr(module, "train_anew", refuse)
    with pytest.raises(PublishError, match="must be healthy"):
        module.retrain(EXPERIMENT)
    (alert,) = received
    assert alert["text"] == "tiny was retrained but not published: a model must be healthy"
    assert alert["repository"] == str(tiny.root)


def test_an_unreachable_receiver_fails_nothing(tiny: Tiny) -> None:
    register_alert("http://127.0.0.1:9/nobody")

    @flow
    def alarm() -> str:
        send_alert(repository_root(), "refused")
        return "done"

    assert alarm() == "done"
