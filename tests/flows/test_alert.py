"""A refused model is reported once more where a retraining made it; a deaf receiver fails nothing."""

from collections.abc import Iterator

import pytest

from pipeline.errors import PublishError
from pipeline.flows.access import read_secret
from tests.flows.conftest import Receiver
from tests.flows.service import Service
from tests.repository import EXPERIMENT

pytestmark = pytest.mark.xdist_group("service")


@pytest.fixture
def _flows_here(service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let flows that are called in this process talk to the service's server."""
    monkeypatch.setenv("FACETS_ROOT", str(service.root))
    monkeypatch.setenv("PREFECT_API_URL", service.api)
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", read_secret(service.root))
    from prefect.context import refresh_global_settings_context

    refresh_global_settings_context()
    yield
    monkeypatch.undo()
    refresh_global_settings_context()


@pytest.mark.usefixtures("_flows_here")
def test_a_retrained_model_that_is_refused_is_reported_and_the_run_fails(
    service: Service, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.flows import retrain as module

    def refuse(*_: object) -> None:
        raise PublishError("a model must be healthy")

    monkeypatch.setattr(module, "ask_policy", lambda _: {"reasons": ["because"], "facts": []})
    monkeypatch.setattr(module, "train_anew", refuse)
    with pytest.raises(PublishError, match="must be healthy"):
        module.retrain(EXPERIMENT)
    assert receiver.received[-1] == {
        "text": "tiny was retrained but not published: a model must be healthy",
        "repository": str(service.root),
    }


@pytest.mark.usefixtures("_flows_here")
@pytest.mark.parametrize("answer", ["nobody", "refusal"])
def test_a_receiver_that_does_not_listen_fails_nothing(service: Service, receiver: Receiver, answer: str) -> None:
    from prefect import flow

    from pipeline.flows.alert import register_alert, send_alert

    register_alert("http://127.0.0.1:9/" if answer == "nobody" else f"{service.api}/no-such-path")
    try:

        @flow
        def alarm() -> str:
            send_alert(service.root, "refused")
            return "done"

        assert alarm() == "done"
    finally:
        register_alert(receiver.url)
